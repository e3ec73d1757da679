#!/bin/sh
# What the Lambda Web Adapter starts beside itself: the streaming server, on the interpreter and the layer's packages.
PYTHONPATH="$LAMBDA_TASK_ROOT:/opt/python:$LAMBDA_RUNTIME_DIR" exec python3 -m openai_agents_session.service app:service
