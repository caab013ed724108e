// A page of a chat front end: what stands in the query says which hook, and which graph on which server.
// `window.chat` has what the hook returned last, and `go(threadId)`.

import { useStream, useMessageMetadata } from "@langchain/react";
import { useStream as useOlderStream } from "@langchain/langgraph-sdk/react";
import { useState } from "react";
import { createRoot } from "react-dom/client";

const asked = new URLSearchParams(location.search);
const textOf = ({ content }) =>
  typeof content === "string" ? content : content.map((block) => block.text ?? "").join("");

const Line = ({ stream, message }) => {
  const parent = useMessageMetadata(stream, message.id)?.parentCheckpointId;
  return <p data-parent={parent}>{`${message.type}: ${textOf(message)}`}</p>;
};

const Shown = ({ stream, children }) => (
  <main data-loading={String(stream.isLoading || stream.isThreadLoading)} data-error={stream.error ? String(stream.error) : undefined}>
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

const Chat = () => {
  const [threadId, go] = useThread();
  const stream = useStream({ ...options, transport: asked.get("transport") ?? undefined, threadId, onThreadId: go });
  window.chat = { stream, threadId, go };
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
