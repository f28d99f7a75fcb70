// kinesis-mock listens on all addresses and has no setting for it. Loaded with `node -r`, this makes every
// server of the process listen on loopback only: other machines must not reach the local AWS stack.
"use strict";

const { Server } = require("net");

const LOOPBACK = "127.0.0.1";
const listen = Server.prototype.listen;

Server.prototype.listen = function (...given) {
  if (typeof given[0] === "object" && given[0] !== null) {
    given[0] = { ...given[0], host: LOOPBACK };
  } else if (typeof given[1] === "string") {
    given[1] = LOOPBACK;
  } else {
    given.splice(1, 0, LOOPBACK);
  }
  return listen.apply(this, given);
};
