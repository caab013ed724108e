"""What small bodies have in common: the dictionary that `codec` compresses them with.

A body of some hundred bytes has hardly anything to repeat but what stood in thousands of bodies before it:
the keys of langgraph's checkpoints, the fields of messages, the arguments of a run. The dictionary is text
that is thought to stand in front of every body, so that a body can refer to it. Nothing depends on its being
right: what is not in it costs more bytes, that is all.

**It may never change.** Bodies that were compressed with it can be read with these very bytes only. Another
dictionary would be another one, with a kind of its own (`codec`), beside this one.

What a body is most likely to need stands last: a reference is the shorter the nearer it points. Names and
numbers that change from row to row are left out, and what stands around them is side by side.
"""

from __future__ import annotations

import base64
from typing import Final

# What tools and other servers answer: JSON objects of all kinds.
_JSON = (
    b'"description":"","properties":{"type":"object","required":["title":"type":"string"},"default":null,"items":'
    b'"error":{"error":"message":"status":"success","created_at":"2026-01-01T00:00:00.000000+00:00","updated_at":'
    b'"result":"results":[{"title":"url":"https://www.http://"},"text":"value":true,"name":false,"data":null,"index":0,'
)

# Pydantic models, interrupts, commands and exceptions, as langgraph's serialiser writes them: an extension
# with module, class, arguments and the method that makes the object again.
_OBJECTS = (
    b"\xa8datetime\xadfromisoformat\xa4uuid\xa4UUID\xabcollections\xa5deque\xa3set\xaddecimal\xa7Decimal"
    b"\xb1langgraph.graph.message\xb2KeyError('\xb4ValueError('\xb6RuntimeError('\xa9__error__"
    b"\xa7Command\x84\xa5graph\xc0\xa6update\xa6resume\xa4goto\xa4Send\x92\xa4node\xa3arg"
    b"\x93\xafhitl_middleware\xb0action_requests\xb0review_configs\xb1allowed_decisions\xa7approve\xa4edit\xa6reject"
    b"\xad__interrupt__\x91\xc7\x88\x02\x93\xaflanggraph.types\xa9Interrupt\x83\xa5value\xa2id\xd9 \xafresponse_schema\xc0"
)

# A run's input as it stands in a checkpoint.
_QUESTIONS = (
    b"\x91\x82\xa4type\xa5human\xa7content\x91\x82\xa4type\xa4text\xa4text\xd9"
    b"\xa9__start__\x81\xa8messages\x91\x83\xa4role\xa4user\xa7content\xda\x01\xa2id\xd9$"
)

# Messages in a state, as the serialiser writes them; an answer's usage and its calls of tools.
_MESSAGES = (
    b"\x94\xbflangchain_core.messages.modifier\xadRemoveMessage\x94\xbflangchain_core.messages.system\xadSystemMessage"
    b"\xb2cache_creation\xaacache_read\x00\xa9reasoning\x00\xa8thinking\xa9signature\xa7summary"
    b"\xaamodel_name\xaegpt-5-mini\xabmodel_provider\xa6openai\xa9anthropic\xb2system_fingerprint\xc0\xacservice_tier\xa7default"
    b"\xabstop_reason\xa8end_turn\xa8tool_use\xadstop_sequence\xc0\xa8logprobs\xc0"
    b"\xabtoken_usage\xb1completion_tokens\xadprompt_tokens\xactotal_tokens\xb9completion_tokens_details\xb5prompt_tokens_details"
    b"\xc7\xec\x05\x94\xbclangchain_core.messages.tool\xabToolMessage\x89\xa7content\xd9\xb1additional_kwargs\x80"
    b"\xb1response_metadata\x80\xa4type\xa4tool\xa4name\xa2id\xd9$\xactool_call_id\xd9\x1dtoolu_call_\xa8artifact\xc0\xa6status"
    b"\xa5error\xa7success\xb3model_validate_json"
    b"\xc8\x01\x99\x05\x94\xbdlangchain_core.messages.human\xacHumanMessage\x86\xa7content\xd9\xb1additional_kwargs\x80"
    b"\xb1response_metadata\x80\xa4type\xa5human\xa4name\xc0\xa2id\xd9$\xb3model_validate_json"
    b"\x91\xc8\x01\x99\x05\x94\xbalangchain_core.messages.ai\xa9AIMessage\x89\xa7content\xb1additional_kwargs\x80"
    b"\xb1response_metadata\x82\xaamodel_name\xadfinish_reason\xaatool_calls\xa4stop\xa4type\xa2ai\xa4name\xc0"
    b"\xa2id\xd9,lc_run--01\xaatool_calls\x91\x84\xa4name\xa4args\x81\xa5query\xa2id\xbdcall_\xa4type\xa9tool_call"
    b"\xb2invalid_tool_calls\x90\xaeusage_metadata\x83\xacinput_tokens\xcd\xadoutput_tokens\xcc\xactotal_tokens\xcd"
    b"\xb3input_token_details\xb4output_token_details\xaausage_metadata\xc0\xb3model_validate_json"
)

# The same on the wire, where their fields are JSON; and what stands behind a token of a model: where it comes
# from.
_WIRE = (
    b',{"content":"","additional_kwargs":{"refusal":null},"response_metadata":{},"type":"system","name":null,"id":"'
    b',{"content":[{"type":"text","text":"","annotations":[]},{"type":"tool_use","id":"toolu_","name":"","input":{}}]'
    b',{"content":"","additional_kwargs":{},"response_metadata":{},"type":"tool","name":"","id":"","tool_call_id":"call_'
    b'","artifact":null,"status":"success"}'
    b',{"content":"","additional_kwargs":{},"response_metadata":{},"type":"human","name":null,"id":"-'
    b'","example":false},{"content":"","additional_kwargs":{},"response_metadata":{"model_name":"gpt-5-mini",'
    b'"model_provider":"openai","finish_reason":"tool_calls"},"type":"ai","name":null,"id":"lc_run--01'
    b'","tool_calls":[{"name":"","args":{"query":""},"id":"call_","type":"tool_call"}],"invalid_tool_calls":[],'
    b'"usage_metadata":{"input_tokens":0,"output_tokens":0,"total_tokens":0,"input_token_details":{"audio":0,'
    b'"cache_read":0},"output_token_details":{"audio":0,"reasoning":0}}}]'
    b'\x91\x94\xa7updates\xa0\x03\xc4{"agent":{"messages":[\x91\x94\xa6values\xa0\x03\xc4{"messages":['
    b'\x91\x94\xb1messages/metadata\xb0messages/partial\xb1messages/complete\x91\x94\xa8messages\xa0\x03\xc5\x04[{"content":" '
    b'","additional_kwargs":{},"response_metadata":{"model_name":"","finish_reason":"stop"},"type":"AIMessageChunk",'
    b'"name":null,"id":"lc_run--01","tool_calls":[],"invalid_tool_calls":[],"usage_metadata":null,"tool_call_chunks":['
    b'{"name":null,"args":"","id":null,"index":0,"type":"tool_call_chunk"}],"chunk_position":"last"},{'
)

# What a model's callbacks tell of the task; it follows the metadata of the run below.
_TOKENS = (
    b'"langgraph_step":1,"langgraph_node":"model","langgraph_triggers":["branch:to:model"],"langgraph_path":['
    b'"__pregel_push","__pregel_pull","model"],"langgraph_checkpoint_ns":"model:","checkpoint_ns":"model:",'
    b'"ls_integration":"langchain_chat_model","ls_provider":"openai","ls_model_name":"gpt-5-mini","ls_model_type":"chat",'
    b'"ls_temperature":0.0,"lc_versions":{"langchain-core":"1.","langchain":"1."},"tags":["seq:step:1"]}]'
    b'],"invalid_tool_calls":[],"usage_metadata":null,"tool_call_chunks":[],"chunk_position":null},{"created_by":"system",'
)

# Records around a run: its beginning, its steps and its end.
_RECORDS = (
    b'"checkpoint":{"thread_id":"","checkpoint_ns":"","checkpoint_id":"1f"},"next":["tasks":[{"id":"","name":"","path":['
    b'"__pregel_pull",""],"error":null,"interrupts":[],"state":null,"result":{}}],"values":{"metadata":{"parent_checkpoint":'
    b'{"action":"interrupted","__interrupt__":[{"value":{"question":"","id":"","response_schema":null}]'
    b"v2/checkpoints\xa0\x04\xc4"
    b'v2/lifecycle=failed\xa0\x04\xc42{"data":{"event":"failed","error":"'
    b'\x92\x94\xb6v2/lifecycle=completed\xa0\x04\xc42{"data":{"event":"completed","graph_name":"agent"}}'
    b'\x94\xa3end\xa0\x02\xc4E{"status":"run_done","run_id":"01'
    b'\x93\x94\xa8metadata\xa0\x03\xc4={"run_id":"01","attempt":1}'
    b'\x94\xb4v2/lifecycle=running\xa0\x04\xc40{"data":{"event":"running","graph_name":"agent"}}\x94\xa6values\xa0\x03\x00'
)

# The arguments of a run: what the client said, then what the server adds.
_KWARGS = (
    b'{"input":{"messages":[{"type":"human","content":[{"type":"text","text":"'
    b'{"input":null,"command":{"update":null,"goto":null,"resume":{"decisions":[{"type":"approve"}]}},'
    b'{"input":{"messages":[{"role":"user","content":"","id":""}]},"command":null,'
    b'"stream_mode":["messages-tuple","messages","updates","custom","values"],'
    b'"interrupt_before":null,"interrupt_after":null,"webhook":null,"feedback_keys":null,"temporary":false,"subgraphs":true,'
    b'"subgraphs":false,"resumable":true,"resumable":false,"checkpoint_during":true,"durability":"async","config":{'
    b'"recursion_limit":25,"tags":[],"configurable":{"langgraph_auth_user":null,"langgraph_auth_user_id":"",'
    b'"langgraph_auth_permissions":[],"langgraph_request_id":"","__request_start_time_ms__":17,"__after_seconds__":0,'
    b'"run_id":"01","thread_id":"01","graph_id":"agent","assistant_id":"fe096781-5601-53d2-b2f6-0d3403f7e9ca","user_id":""},'
    b'"metadata":{"created_by":"system","assistant_id":"","graph_id":"agent"}},"context":{}}'
)

# A checkpoint: its channels' versions (32 digits and a fraction), by channel and by the node that has seen
# them.
_CHECKPOINT = (
    b"\x92\xb0remaining_steps\xb0structured_response\xa5tasks\xafis_last_step\xa6agents\xa5model\xa5tools\xa5agent"
    b"\x95\xc4n\x87\xa1v\x04\xa2ts\xd9 2026-01-01T00:00:00.+00:00\xa2id\xd9$1f1e\xaechannel_values\x82\xa8messages\xdc\x00"
    b"\xa9__start__\x81\xa8messages\x91\x01\xc5\x01\xb0branch:to:answer\xafbranch:to:tools\xafbranch:to:model\xc0"
    b"\xb0channel_versions\x83\xa9__start__\xd9100000000000000000000000000000002.0."
    b"\xa8messages\xd9200000000000000000000000000000003.0."
    b"\xafbranch:to:tools\xd9400000000000000000000000000000004.0."
    b"\xafbranch:to:agent\xafbranch:to:model\xd9300000000000000000000000000000005.0."
    b"\xadversions_seen\x84\xa9__input__\x80\xad__interrupt__\x82\xa9__start__\x81\xa9__start__\xd9300000000000000000000000000000001.0."
    b"\xa5agent\x81\xafbranch:to:agent\xa5tools\x81\xafbranch:to:tools\xa5model\x81\xafbranch:to:model\xd9400000000000000000000000000000001.0."
    b"\xb0updated_channels\x91\xa9__start__\xb0updated_channels\x92\xafbranch:to:model\xa8messages\xb0updated_channels\x91\xa8messages"
)

# A checkpoint's metadata, in the order in which langgraph puts it together.
_METADATA = (
    b'{"source":"fork","step":-1,"parents":{"":"1f1"},"thread_id":"01","checkpoint_ns":"","langgraph_auth_user":'
    b'"counters_since_delta_snapshot":{"messages":[1,1]},"writes":null,"source":"update",'
    b'{"source":"input","step":-1,"parents":{},"created_by":"system","assistant_id":"fe096781-5601-53d2-b2f6-0d3403f7e9ca","graph_id":"agent",'
    b'"run_attempt":1,"langgraph_version":"1.","langgraph_api_version":"0.1.0","langgraph_plan":"self-hosted",'
    b'"langgraph_host":"self-hosted","langgraph_api_url":null,"run_id":"01'
    b'{"source":"loop","step":1,"parents":{},"created_by":"system","graph_id":"agent","assistant_id":"fe096781-5601-53d2-b2f6-0d3403f7e9ca",'
    b'"run_attempt":1,"langgraph_version":"1.2.2","langgraph_api_version":"0.1.0","langgraph_plan":"self-hosted",'
    b'"langgraph_host":"self-hosted","langgraph_api_url":"http://127.0.0.1:2024","run_id":"01'
    b'","langgraph_auth_user_id":"","langgraph_request_id":"","user_id":""}'
)

CONTENT: Final = b"".join(
    (_JSON, _OBJECTS, _QUESTIONS, _WIRE, _TOKENS, _RECORDS, _KWARGS, _MESSAGES, _METADATA, _CHECKPOINT)
)
"""The text."""

TABLES: Final = base64.b64decode(
    "N6Qw7AEAAAA8EKi0SRswMzMzk6Iyk+BVw46DhTZlp6FGKFsiFjORlVzZ++sK3oB0AAq6HANNdnd3d3dsGwztL5kJ2xo64wAQEBCR"
    "CkZiMpU6AAQgS42Lh0JEw4NhIakgJAmCoWA4FAqFgmFAiKMgCKAYkiczh9QCAAC0bGoDcoEwEAtEUhCFQUDFchgBzwAAAAABAAAA"
    "BAAAAAgAAAA="
)
"""
How frequent bytes, lengths and distances are in small bodies, so that a frame need not say it (a sixth less,
and half the time). Made by zstd's ZDICT_finalizeDictionary from the text above and 900 bodies: of
conversations with and without tools, and slices of English and of Python.
"""

DICTIONARY: Final = TABLES + CONTENT
"""The dictionary as zstd has it."""
