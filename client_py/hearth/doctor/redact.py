"""Takes out of a text what is nobody else's business: for a bundle that is sent to strangers.

Left out are prompts and answers, keys and tokens, everything below home directories and outside the
system's own folders, names of users, hosts and models, addresses, serial numbers of devices. In
doubt more goes than must.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable
from typing import Any

# of JSON objects: what people wrote or were told
_SECRET_FIELDS = {
    "prompt", "text", "thinking", "messages", "content", "system", "answer", "token_ids",
    "prompt_token_ids", "json_schema", "regex", "stop", "result_key", "key", "instance",
}  # fmt: skip
_OF_A_SETTING = "takes_effect"  # a struct with this field has the setting's name in its `key`
_SECRET_NAME = (
    r"[\w-]*(?:token|secret|passw(?:or)?d|passphrase|credentials?|apikey|authorization|cookie)"
    r"|[\w-]+key"
)
_IS_SECRET = re.compile(_SECRET_NAME, re.I)
_QUOTED = r"([\"'])(?:\\.|(?!\{0}).)*(?:\{0}|$)"  # to the quote that closes it, group {0}
_SECRET_LINES = re.compile(r'"event":\s*"prompt"|HEARTH_EVENT=prompt|\bprompt(?: of [^:]*)?:', re.I)
_PRIVATE_KEY = re.compile(r"-----BEGIN [^-]*PRIVATE KEY-----.*?-----END [^-]*-----", re.S)
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(?:hf|sk|ghp|gho|ghs|pk|rk|glpat|xox[abp])[_-][\w-]{8,}"), "<token>"),
    (re.compile(r"\bgithub_pat_\w{10,}"), "<token>"),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{12,}"), "<token>"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), "<token>"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.I), r"\1 <token>"),
    (re.compile(r"\b(authorization|cookie)(\s*[:=]\s*)[^\n\"']+", re.I), r"\1\2<secret>"),
    (
        re.compile(
            rf"((?<![\w-])(?:{_SECRET_NAME})[\"']?\s*[:=]\s*){_QUOTED.format(2)}", re.I | re.M
        ),
        r"\1<secret>",
    ),
    (
        re.compile(rf"((?<![\w-])(?:{_SECRET_NAME})[\"']?\s*[:=]\s*)[^\s\"',;&<]+", re.I),
        r"\1<secret>",
    ),
    (
        re.compile(
            rf"((?<![\w-])--?(?:{_SECRET_NAME}|key)\s+)(?:{_QUOTED.format(2)}|[^\s\"'<-]\S*)",
            re.I | re.M,
        ),
        r"\1<secret>",
    ),
    (re.compile(r"(\w+://)[^/\s\"'<>]*@"), r"\1<secret>@"),
    (re.compile(r"([?&][\w.-]+=)[^&\s\"'#<>]+"), r"\1<secret>"),
    (re.compile(r"\bGPU-[0-9a-f]{8}-[0-9a-f-]{20,}", re.I), "<gpu>"),
    (re.compile(r"^(\s*(?:Serial Number|GPU UUID|Board ID|GPU PDI)\s*:).*$", re.M), r"\1 <number>"),
    (re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", re.I), "<address>"),
    (re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"), "<address>"),
    (re.compile(r"(?<![\d.])(?!127\.0\.0\.1\b)(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)"), "<address>"),
)
_LIKE_IPV6 = re.compile(r"(?<![\w:])(?:[0-9a-f]{0,4}:){2,8}[0-9a-f]{0,4}(?!\w)", re.I)
_HOMES = r"(?:/home/[^/\s\"']+|/root|/Users/[^/\s\"']+|/var/home/[^/\s\"']+)"
_SYSTEMS = "usr|lib|lib32|lib64|bin|sbin|etc|proc|sys|dev|run|var|boot"
_ELSEWHERE = rf"/(?!(?:{_SYSTEMS})/)[^/\s\"'<>]+(?=/[^/\s])"  # of two names at least
_KNOWN_TO_ALL = {"root", "hearth", "localhost", "ember"}


class Redactor:
    """Knows the names to look for.

    users, hosts, models: names; homes: folders besides /home, /root and /Users
    """

    def __init__(
        self,
        users: Iterable[str] = (),
        hosts: Iterable[str] = (),
        homes: Iterable[str] = (),
        models: Iterable[str] = (),
    ) -> None:
        own = [re.escape(home.rstrip("/")) for home in homes if home.strip("/")]
        folders = "|".join([*sorted(own, key=len, reverse=True), _HOMES])
        self._paths = [
            (_path_below(rf"(?:{folders})(?![\w-])"), "<home>"),
            (_path_below(rf"(?<![\w.:/>~-])(?:{_ELSEWHERE})"), "<path>"),
        ]
        self._models = [
            (re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])"), _stand_in(name))
            for name in sorted(set(models) - _KNOWN_TO_ALL, key=len, reverse=True)
            if name
        ]
        self._names = [
            (re.compile(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", re.I), mark)
            for mark, names in (("<user>", users), ("<host>", hosts))
            for name in sorted(set(names) - _KNOWN_TO_ALL, key=len, reverse=True)
            if len(name) > 1
        ]

    def text(self, text: str) -> str:
        """A text of many lines. Lines that quote a prompt go whole."""
        kept = [line for line in text.split("\n") if not _SECRET_LINES.search(line)]
        lines = _PRIVATE_KEY.sub("<key>", "\n".join(kept)).split("\n")
        return "\n".join(self._log_line(line) for line in lines)

    def value(self, value: Any) -> Any:
        """What JSON is made of, by its fields' names and its strings."""
        if isinstance(value, dict):
            return {
                self._string(str(name)): self._field(str(name), one, _OF_A_SETTING in value)
                for name, one in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.value(one) for one in value]
        return self._string(value) if isinstance(value, str) else value

    def _field(self, name: str, value: Any, of_a_setting: bool) -> Any:
        if name in _SECRET_FIELDS and not (of_a_setting and name == "key"):
            return "<left out>"
        if isinstance(value, str) and value and _IS_SECRET.fullmatch(name):
            return "<secret>"
        return self.value(value)

    def _log_line(self, line: str) -> str:
        if line.lstrip().startswith("{"):
            try:
                return json.dumps(self.value(json.loads(line)), ensure_ascii=False)
            except ValueError:
                pass
        return self._line(line, "in_text")

    def _string(self, text: str) -> str:
        return self._line(_PRIVATE_KEY.sub("<key>", text), "in_json")

    def _line(self, text: str, where: str) -> str:
        for pattern, mark in self._models:
            text = pattern.sub(mark, text)
        for patterns, mark in self._paths:
            text = patterns["quoted"].sub(rf"\1{mark}\1", text)
            text = patterns[where].sub(mark, text)
        for pattern, replacement in _RULES:
            text = pattern.sub(replacement, text)
        text = _LIKE_IPV6.sub(_without_ipv6, text)
        for pattern, mark in self._names:
            text = pattern.sub(mark, text)
        return text


def _path_below(folders: str) -> dict[str, re.Pattern[str]]:
    """A path may hold blanks and quotes. In quotes it ends with them, and a JSON string ends it; in
    other text it ends at the last slash of its line and the word behind that."""
    return {
        "quoted": re.compile(rf"([\"'])(?:{folders})(?:(?!\1(?!\w)).)*\1"),
        "in_json": re.compile(rf"(?:{folders})[^\n]*"),
        "in_text": re.compile(rf"(?:{folders})(?:/[^\n]*/)?(?:/?[^\s\"',;:)]*)"),
    }


def _stand_in(name: str) -> str:
    """The same for the same name, on every machine."""
    return f"model-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _without_ipv6(found: re.Match[str]) -> str:
    text = found[0]
    address = text[:-1] if text.endswith(":") and not text.endswith("::") else text
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return text
    mine = parsed.is_loopback or parsed.is_unspecified
    return text if mine else "<address>" + text[len(address) :]
