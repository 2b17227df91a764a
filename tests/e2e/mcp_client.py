"""Talks to blip's MCP server with the official client, version 1 or 2, and prints what came of it as JSON. Run by the
Python of an environment that has the package mcp.

    mcp_client.py auto|legacy http://127.0.0.1:PORT/mcp PICTURE
    mcp_client.py auto|legacy BLIP PICTURE ARGUMENTS..."""

import asyncio
import base64
import contextlib
import importlib.metadata
import json
import sys
import time

import mcp
from mcp.client.stdio import StdioServerParameters, stdio_client

OLD = importlib.metadata.version("mcp").startswith("1.")


@contextlib.asynccontextmanager
async def connected(mode, where, arguments):
    """-> a client, and the protocol version that was agreed on"""
    http = where.startswith("http")
    if http and OLD:
        from mcp.client.streamable_http import streamablehttp_client
        transport = streamablehttp_client(where)
    elif http:
        from mcp.client.streamable_http import streamable_http_client
        transport = streamable_http_client(where)
    else:
        transport = stdio_client(StdioServerParameters(command=where, args=["mcp", *arguments]))
    if OLD:
        async with transport as streams, mcp.ClientSession(*streams[:2]) as session:
            yield session, (await session.initialize()).protocolVersion
    else:
        async with mcp.Client(transport, mode=mode) as client:
            yield client, client.protocol_version


def plain(result):
    dumped = result.model_dump(by_alias=True, mode="json")
    return {"text": dumped["content"][0]["text"], "structured": dumped["structuredContent"], "error": dumped["isError"]}


async def main(mode, where, picture, *arguments):
    image = {"image": base64.b64encode(open(picture, "rb").read()).decode()}
    came = {"progress": []}

    async def on_progress(progress, total, message):
        came["progress"].append([progress, message])

    async with connected(mode, where, arguments) as (client, came["version"]):
        came["tools"] = [tool.name for tool in (await client.list_tools()).tools]
        call = client.call_tool
        came["caption"] = plain(await call("caption", image, progress_callback=on_progress))
        came["describe"] = plain(await call("describe", image | {"detail": "off"}))
        came["ask"] = plain(await call("ask", image | {"questions": ["a cat?", "a dog?"], "answers": ["a cat", "a dog"]}))
        came["match"] = plain(await call("match", image | {"texts": ["a cat", "a dog"]}))
        came["broken"] = plain(await call("caption", {"image": "bm8gcGljdHVyZQ=="}))
        came["path"] = plain(await call("caption", {"path": picture}))
        try:
            await call("paint", image)
        except Exception as e:
            came["unknown"] = type(e).__name__
        many = await asyncio.gather(*(call("caption", image) for _ in range(12)))
        came["many"] = sorted({plain(one)["text"] for one in many})
        if not OLD:
            slow = image | {"detail": "high"}
            start = time.monotonic()
            try:
                await call("describe", slow, read_timeout_seconds=0.01)
            except Exception as e:
                came["abandoned"] = type(e).__name__
            came["after"] = plain(await call("caption", image))["text"]
            came["seconds"] = time.monotonic() - start
    print(json.dumps(came))


asyncio.run(main(*sys.argv[1:]))
