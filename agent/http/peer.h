// SPDX-License-Identifier: Apache-2.0
// Who sends on a Unix stream socket, as the kernel says it.
#pragma once

#include <cstddef>
#include <span>

#include "core/result.h"
#include "http/http.h"

namespace ds01::http {

// Has the kernel attach the sender's credentials to what is received. A listener hands this on to the sockets accepted
// from it (since Linux 6.16 at connect(), before that at accept()), so setting it before listen() leaves no gap.
Status pass_credentials(int socket);

// Who connected.
Result<Peer> peer_of(int socket);

enum class Incoming {
  bytes,        // from the peer
  nothing_yet,  // EAGAIN
  end,          // the other side closed, or the socket failed
  foreign,      // sent by a process other than the one that connected, or by one that is gone
  descriptors,  // came with descriptors (SCM_RIGHTS)
};
struct Received {
  Incoming what;
  std::size_t size = 0;
};

// Reads what there is, without blocking, and checks who sent it. One call never mixes the bytes of two senders.
Received receive(int socket, std::span<char> room, const Peer& peer);

}  // namespace ds01::http
