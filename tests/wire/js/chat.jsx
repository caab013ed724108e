// A page of a chat front end: what stands in the query says which hook, and which graph on which server.
// `window.chat` has what the hook returned last, and `go(threadId)`. With `first` in the query the page sends that message as
// soon as it is there; `window.sent` tells how far the last message sent is.

import { useMessageMetadata, useStream, useSubmissionQueue } from "@langchain/react";
import { useStream as useOlderStream } from "@langchain/langgraph-sdk/react";
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

const asked = new URLSearchParams(location.search);
const textOf = ({ content }) =>
  typeof content === "string" ? content : content.map((block) => block.text ?? "").join("");

const Line = ({ stream, message }) => {
  const parent = useMessageMetadata(stream, message.id)?.parentCheckpointId;
  return <p data-parent={parent}>{`${message.type}: ${textOf(message)}`}</p>;
};

const Shown = ({ stream, children }) => (
  <main
    data-loading={String(stream.isLoading || stream.isThreadLoading)}
    data-thread-loading={String(stream.isThreadLoading)}
    data-error={stream.error ? String(stream.error) : undefined}
  >
    {children}
    {stream.interrupt && <q>{JSON.stringify(stream.interrupt.value)}</q>}
    <output>{JSON.stringify(stream.values)}</output>
  </main>
);

const useThread = () => {
  const [threadId, setThreadId] = useState(asked.get("thread"));
  const remember = (id) => {
    const url = new URL(location.href);
    if (id) url.searchParams.set("thread", id);
    else url.searchParams.delete("thread");
    history.replaceState(null, "", url); // a reload comes back to it
    setThreadId(id);
  };
  return [threadId, remember];
};

const options = { apiUrl: asked.get("url"), assistantId: asked.get("graph"), messagesKey: "messages" };

// Sends an input, and notes when the hook says that it is through.
const send = (stream, input, options) => {
  window.sent = "on its way";
  stream.submit(input, options).then(() => (window.sent = "through"));
};

// Puts a message in the place of another one: the conversation goes on from before that. The hook may know the checkpoint;
// else it is looked up.
const edit = async (stream, threadId, place, content) => {
  const { id } = stream.messages[place];
  let forkFrom = document.querySelectorAll("p")[place].dataset.parent;
  if (forkFrom === undefined) {
    const history = await stream.client.threads.getHistory(threadId, { limit: 100 });
    const first = history.findLast(({ values }) => values.messages?.some((message) => message.id === id));
    forkFrom = first.parent_checkpoint.checkpoint_id;
  }
  send(stream, { messages: [{ type: "human", content }] }, { forkFrom });
};

const Chat = () => {
  const [threadId, go] = useThread();
  const stream = useStream({ ...options, transport: asked.get("transport") ?? undefined, threadId, onThreadId: go });
  useEffect(() => {
    if (asked.has("first")) send(stream, { messages: [{ type: "human", content: asked.get("first") }], gate: asked.get("gate") });
  }, []);
  const queue = useSubmissionQueue(stream);
  window.chat = {
    stream,
    queue,
    threadId,
    go,
    send: (input, options) => send(stream, input, options),
    edit: (place, content) => edit(stream, threadId, place, content),
  };
  return (
    <Shown stream={stream}>
      {stream.messages.map((message, n) => <Line key={message.id ?? n} stream={stream} message={message} />)}
    </Shown>
  );
};

const OlderChat = () => {
  const [threadId, go] = useThread();
  const stream = useOlderStream({ ...options, threadId, onThreadId: go, reconnectOnMount: true, fetchStateHistory: true });
  window.chat = { stream, threadId, go };
  return (
    <Shown stream={stream}>
      {stream.messages.map((message, n) => <p key={message.id ?? n}>{`${message.type}: ${textOf(message)}`}</p>)}
    </Shown>
  );
};

createRoot(document.getElementById("root")).render(asked.get("hook") === "older" ? <OlderChat /> : <Chat />);
