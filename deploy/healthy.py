#!/usr/bin/env python3
"""Ends with 0 when every address that it is given answers with success, else with 1 and a line that says which did not.

Without arguments: the API of this container. For health checks; Python comes with the image anyway, curl would not.
"""

import os
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 4.0


def main(urls: list[str]) -> int:
    """Ask all of them in turn."""
    # Nothing that is asked here lies behind a proxy, whatever the environment says.
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    for url in urls or [f"http://127.0.0.1:{os.environ.get('SPOTON_PORT') or '8321'}/health"]:
        try:
            with ask(url, timeout=TIMEOUT_S):
                pass
        except (OSError, urllib.error.URLError, ValueError) as error:
            print(f"{url}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
