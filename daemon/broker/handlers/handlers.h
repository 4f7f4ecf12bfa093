// What a client may send, one function a message. To add a message: declare it in messages.toml,
// add its function here and its line in table.cpp.
//
// A handler gets a decoded message of a client that has been greeted, under an id that is neither 0
// nor in use. It ends the request itself or leaves it open for somebody who will.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

struct Request {
  Caller caller;
  std::vector<Fd> fds;  // offer_model only
};

void handle(Core&, Client&, Request, const contract::Ping&);
void handle(Core&, Client&, Request, const contract::ArenaAsk&);
void handle(Core&, Client&, Request, const contract::ArenaDrop&);
void handle(Core&, Client&, Request, const contract::OfferModel&);
void handle(Core&, Client&, Request, const contract::LoadModel&);
void handle(Core&, Client&, Request, const contract::UnloadModel&);
void handle(Core&, Client&, Request, const contract::PlanLoad&);
void handle(Core&, Client&, Request, const contract::FreeMemory&);
void handle(Core&, Client&, Request, const contract::ListModels&);
void handle(Core&, Client&, Request, const contract::Status&);
void handle(Core&, Client&, Request, const contract::Release&);
void handle(Core&, Client&, Request, contract::Generate);
void handle(Core&, Client&, Request, contract::Encode);
void handle(Core&, Client&, Request, contract::CountTokens);
void handle(Core&, Client&, Request, const contract::ShowConfig&);
void handle(Core&, Client&, Request, const contract::ReloadConfig&);
void handle(Core&, Client&, Request, const contract::ListJobs&);
void handle(Core&, Client&, Request, const contract::CancelJob&);
void handle(Core&, Client&, Request, const contract::KickClient&);
void handle(Core&, Client&, Request, const contract::PinModel&);
void handle(Core&, Client&, Request, const contract::EvictModel&);
void handle(Core&, Client&, Request, const contract::Drain&);
void handle(Core&, Client&, Request, const contract::Suspend&);
void handle(Core&, Client&, Request, const contract::Resume&);
void handle(Core&, Client&, Request, const contract::ClearQuarantine&);
void handle(Core&, Client&, Request, const contract::ListRequests&);
void handle(Core&, Client&, Request, const contract::Metrics&);
void handle(Core&, Client&, Request, const contract::Upgrade&);

// The frames that open no request.
void greet(Core& core, Client& client, const InFrame& frame);
void cancel(Core& core, Client& client, std::uint32_t request_id);

// Decodes and handles any frame of a client.
void receive_from_client(Core& core, Client& client, InFrame frame);
// The same for the worker. False: the frame makes no sense, and the worker cannot be trusted.
bool receive_from_worker(Core& core, InFrame frame);

// The client is gone: its work is cancelled, its memory and models released.
void forget_client(Core& core, ConnectionId id);

// A client's wait for the examination of its files has taken too long.
void offers_tick(Core& core);

}  // namespace hearth::broker
