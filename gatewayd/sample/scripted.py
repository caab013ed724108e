"""A chat model that follows a script: what it says is decided by what it reads, word by word and the same
each time.

It stands where a real model would: it is asked with the messages so far, streams its answer, calls the tools
bound to it and uses what they return. So everything that streaming and tools need can be seen without a key
or a network.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.base import LanguageModelInput
from langchain_core.language_models.chat_models import (
    BaseChatModel,
    agenerate_from_stream,
    generate_from_stream,
)
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

EXPRESSION = re.compile(r"[(\d][\d\s.+\-*/%()]*[\d)]")
CITY = re.compile(r"\b(?:in|at|of|for) ([A-Z][\w-]*(?: [A-Z][\w-]*)?)")


class ScriptedModel(BaseChatModel):
    """Answers from the messages alone; the same messages get the same answer."""

    pause: float = 0.03
    """Seconds between two tokens."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let the model call `tools`; it knows what to do with `calculate` and `weather`."""
        schemas = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(tools=schemas, tool_choice=tool_choice, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, run_manager, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for message in _chunks(messages, kwargs.get("tools") or []):
            time.sleep(self.pause)
            chunk = ChatGenerationChunk(message=message)
            if run_manager is not None:
                run_manager.on_llm_new_token(message.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for message in _chunks(messages, kwargs.get("tools") or []):
            await asyncio.sleep(self.pause)
            chunk = ChatGenerationChunk(message=message)
            if run_manager is not None:
                await run_manager.on_llm_new_token(message.text, chunk=chunk)
            yield chunk


def _chunks(messages: list[BaseMessage], tools: list[dict[str, Any]]) -> list[AIMessageChunk]:
    """The next message in the pieces in which it is streamed; the last one is marked as such."""
    names = {tool["function"]["name"] for tool in tools}
    results = _results(messages)
    calls = [] if results else [call for call in _calls(_question(messages)) if call[0] in names]
    if calls:
        text = "Let me look that up. "
    elif results:
        text = " ".join(f"{message.text.rstrip('.')}." for message in results)
    else:
        text = (
            "I am a script, not a model: I can calculate and tell an invented weather. "
            "Try: What is 12 * 34, and how is the weather in Oslo?"
        )
    chunks = [AIMessageChunk(content=word) for word in re.findall(r"\S+\s*", text)]
    for index, (name, arguments) in enumerate(calls):
        # The number of messages makes the id new in its thread, and the same when a step is repeated.
        call_id = f"call_{len(messages)}_{index}"
        pieces = re.findall(r".{1,8}", json.dumps(arguments))
        chunks.append(_call_chunk(tool_call_chunk(name=name, args="", id=call_id, index=index)))
        chunks.extend(_call_chunk(tool_call_chunk(args=piece, index=index)) for piece in pieces)
    chunks[-1].chunk_position = "last"
    chunks[-1].response_metadata = {
        "model_name": "scripted",
        "finish_reason": "tool_calls" if calls else "stop",
    }
    return chunks


def _call_chunk(chunk: ToolCallChunk) -> AIMessageChunk:
    return AIMessageChunk(content="", tool_call_chunks=[chunk])


def _question(messages: list[BaseMessage]) -> str:
    """What the person said last."""
    return next((message.text for message in reversed(messages) if isinstance(message, HumanMessage)), "")


def _results(messages: list[BaseMessage]) -> list[ToolMessage]:
    """What the tools have returned since the model spoke last, in the order of its calls."""
    results: list[ToolMessage] = []
    for message in reversed(messages):
        if not isinstance(message, ToolMessage):
            break
        results.insert(0, message)
    return results


def _calls(question: str) -> list[tuple[str, dict[str, str]]]:
    """The tool calls that the question asks for: names and arguments."""
    calls: list[tuple[str, dict[str, str]]] = []
    for expression in EXPRESSION.findall(question):
        if any(sign in expression for sign in "+-*/%"):
            calls.append(("calculate", {"expression": expression.strip()}))
    if "weather" in question.lower():
        calls.extend(("weather", {"city": city}) for city in CITY.findall(question))
    return calls
