// Which keywords a schema may have, and what they speak of. Internal to grammar/.
//
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "models/files/config.h"
#include "shm/base/result.h"

namespace hearth::grammar {

using files::ConfigValue;

// JSON's types as bits. An integer is a number without a fraction.
enum TypeBit : unsigned {
  kNull = 1,
  kBoolean = 2,
  kInteger = 4,
  kNumber = 8,
  kString = 16,
  kArray = 32,
  kObject = 64,
  kAnyType = 127 & ~kInteger,
};

struct Keywords {
  // The one keyword that decides alone: $ref, enum, const, anyOf, oneOf or allOf. Empty: none.
  std::string_view alone;
  bool constrained = false;   // there are others, of the values of some types
  unsigned types = kAnyType;  // as `type` says, else those that the other keywords speak of
};

// Reads the keywords of one schema object. Errors: unsupported naming the first keyword, or
// combination of keywords, that is not kept to; bad_request for a wrong `type`.
Result<Keywords> read_keywords(const ConfigValue& schema, bool is_root);

// The type of a value itself: kInteger for 3, kNumber for 3.5.
unsigned type_of(const ConfigValue& value);

// Compact JSON of a value of the schema: an enum's literal.
std::string written(const ConfigValue& value);

// A count such as minItems. Errors: bad_request.
Result<std::uint32_t> count_or(const ConfigValue& value, std::uint32_t fallback);

// Errors that name the place: "schema: properties.age.multipleOf …".
Error unsupported(const ConfigValue& place, std::string_view problem);
Error wrong(const ConfigValue& place, std::string_view problem);
// An error of files/ speaks of a model; this one speaks of a request.
Error as_request(Error error);

}  // namespace hearth::grammar
