"""The graph `agent`: a model and two tools in a circle, until the model answers without calling one.

The model is the scripted one, unless a real one is asked for: by `SAMPLE_MODEL=provider:model`, or by one of
the usual API keys. A real one needs `pip install langchain` and the provider's package; without them a
warning says so and the script answers. `SAMPLE_MODEL=scripted` keeps the script though there is a key.
"""

from __future__ import annotations

import ast
import logging
import operator
import os
from collections.abc import Callable
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from gatewayd.sample.scripted import ScriptedModel

logger = logging.getLogger(__name__)

SCRIPTED = "scripted"
MODEL_BY_KEY = {
    "OPENAI_API_KEY": "openai:gpt-5-mini",
    "ANTHROPIC_API_KEY": "anthropic:claude-haiku-4-5",
    "GOOGLE_API_KEY": "google_genai:gemini-2.5-flash",
    "MISTRAL_API_KEY": "mistralai:mistral-small-latest",
}

OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}

WEATHER = {
    "berlin": "14 degrees and cloudy",
    "lisbon": "21 degrees and sunny",
    "oslo": "4 degrees with light rain",
    "tokyo": "18 degrees and clear",
}


@tool
def calculate(expression: str) -> str:
    """Calculate an expression of numbers, parentheses and + - * / // %."""
    try:
        value = _value(ast.parse(expression, mode="eval").body)
    except (ArithmeticError, RecursionError, SyntaxError, ValueError) as error:
        return f"{expression} can't be calculated: {error}"
    return f"{expression} = {value:.12g}"


@tool
def weather(city: str) -> str:
    """Tell the weather in a city (invented, and always the same)."""
    known = WEATHER.get(city.lower())
    return f"In {city} it is {known}" if known else f"The weather in {city} is not in my table"


def _value(node: ast.AST) -> float:
    """The value of a parsed expression; ValueError for anything but numbers and `OPERATORS`."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in OPERATORS:
            return OPERATORS[type(sign)](_value(left), _value(right))
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in OPERATORS:
            return OPERATORS[type(sign)](_value(operand))
    raise ValueError("only numbers and + - * / // % are understood")


def choose_model() -> BaseChatModel:
    """The real model that the environment asks for, if it can be had; else the scripted one."""
    by_key = (name for key, name in MODEL_BY_KEY.items() if os.environ.get(key))
    wanted = os.environ.get("SAMPLE_MODEL") or next(by_key, SCRIPTED)
    if wanted == SCRIPTED:
        return ScriptedModel()
    try:
        from langchain.chat_models import init_chat_model  # optional, and slow to import

        model: Any = init_chat_model(wanted)
    except Exception as error:
        logger.warning("sample: %s can't be used, the scripted model answers instead: %s", wanted, error)
        return ScriptedModel()
    assert isinstance(model, BaseChatModel)  # a configurable model would need a name without a provider
    return model


TOOLS = [calculate, weather]
model = choose_model().bind_tools(TOOLS)


async def answer(state: MessagesState) -> dict[str, Any]:
    """Ask the model; it answers or calls tools."""
    return {"messages": [await model.ainvoke(state["messages"])]}


builder = StateGraph(MessagesState)
builder.add_node("answer", answer)
builder.add_node("tools", ToolNode(TOOLS))
builder.add_edge(START, "answer")
builder.add_conditional_edges("answer", tools_condition)
builder.add_edge("tools", "answer")
graph = builder.compile()
