// The parts of Asio that net/ uses, in the one order in which Boost 1.74 compiles.
#pragma once

#include <utility>  // awaitable.hpp uses std::exchange without including it

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace hearth::broker {

namespace asio = boost::asio;
using UnixStream = asio::local::stream_protocol::socket;
using SystemError = boost::system::error_code;

}  // namespace hearth::broker
