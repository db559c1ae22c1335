"""The front door: HTTP, WebSocket and the live page, on aiohttp."""
