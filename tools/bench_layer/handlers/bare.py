"""The floor: the imports that no agent with a session on DynamoDB can do without, and nothing else."""

import agents  # noqa: F401
import aiobotocore.session  # noqa: F401


def handler(event, context):
    """Answer at once."""
    return {"status": 200}
