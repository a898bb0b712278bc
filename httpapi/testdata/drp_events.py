"""Prints the events of a DRP endpoint: register on open, then print whatever comes.

The order of the calls is that of the sample which DRP ships for Python.
"""
import os
import ssl
import sys

import websocket


def on_open(ws):
    for event_filter in sys.argv[1:]:
        ws.send("register %s" % event_filter)


def on_message(ws, message):
    print(message, flush=True)
    if '"Action":"last"' in message:
        ws.close()


def on_error(ws, error):
    print(error, file=sys.stderr)


app = websocket.WebSocketApp(
    "wss://%s/api/v3/ws?token=%s" % (os.environ["ENDPOINT"], os.environ["TOKEN"]),
    on_open=on_open, on_message=on_message, on_error=on_error)
app.run_forever(sslopt={"cert_reqs": ssl.CERT_NONE})
