// What @langchain/react has of the newer SDK, with the option `queue` as the page's address says it: the newest hook that is
// released does not hand it on.

import { StreamController as Controller } from "@langchain/langgraph-sdk/stream";

export * from "@langchain/langgraph-sdk/stream";

export class StreamController extends Controller {
  constructor(options) {
    super({ ...options, queue: new URLSearchParams(location.search).get("queue") ?? undefined });
  }
}
