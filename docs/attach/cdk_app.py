"""An AWS CDK app with a function that has the layer attached."""

import os
from pathlib import Path

from aws_cdk import App, CfnParameter, Duration, Stack, aws_dynamodb, aws_lambda

HERE = Path(__file__).parent


class AgentStack(Stack):
    """A function with a session."""

    def __init__(self, scope, name):
        super().__init__(scope, name)
        layer_arn = CfnParameter(self, "SessionLayerArn").value_as_string
        table = aws_dynamodb.Table.from_table_name(self, "Sessions", CfnParameter(self, "SessionTable").value_as_string)
        function = aws_lambda.Function(
            self,
            "MyAgent",
            code=aws_lambda.Code.from_inline((HERE / "handler.py").read_text()),
            handler="index.handler",
            runtime=aws_lambda.Runtime.PYTHON_3_13,
            architecture=aws_lambda.Architecture.X86_64,
            memory_size=1024,
            timeout=Duration.seconds(60),
            layers=[aws_lambda.LayerVersion.from_layer_version_arn(self, "SessionLayer", layer_arn)],
            environment={"SESSION_TABLE": table.table_name, "SESSION_TTL_SECONDS": "2592000"},
        )
        table.grant(
            function,
            "dynamodb:GetItem",
            "dynamodb:BatchGetItem",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
            "dynamodb:DeleteItem",
        )


app = App(outdir=os.environ.get("CDK_OUTDIR"))
AgentStack(app, "MyAgent")
app.synth()
