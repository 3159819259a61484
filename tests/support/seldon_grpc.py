"""A client of Seldon's gRPC: messages as a JSON list on standard input, answers on standard output.

It runs in seldon-core's environment: python seldon_grpc.py HOST:PORT Predict|SendFeedback
"""

import json
import sys

import grpc
from google.protobuf import json_format
from seldon_core.proto.prediction_pb2 import Feedback, SeldonMessage
from seldon_core.proto.prediction_pb2_grpc import ModelStub

address, method = sys.argv[1:]
kind = Feedback if method == "SendFeedback" else SeldonMessage
with grpc.insecure_channel(address) as channel:
    ask = getattr(ModelStub(channel), method)
    answers = [
        ask(json_format.ParseDict(message, kind()), timeout=60, wait_for_ready=True)
        for message in json.load(sys.stdin)
    ]
print(json.dumps([json_format.MessageToDict(answer) for answer in answers]))
