variable "session_layer_arn" {
  description = "The layer's ARN with its version number"
  type        = string
}

variable "session_table" {
  description = "Name of the table of sessions"
  type        = string
}

data "aws_dynamodb_table" "sessions" {
  name = var.session_table
}

data "archive_file" "code" {
  type        = "zip"
  source_file = "${path.module}/handler.py"
  output_path = "${path.module}/handler.zip"
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "sessions" {
  statement {
    actions = [
      "dynamodb:GetItem",
      "dynamodb:BatchGetItem",
      "dynamodb:PutItem",
      "dynamodb:UpdateItem",
      "dynamodb:DeleteItem",
    ]
    resources = [data.aws_dynamodb_table.sessions.arn]
  }
}

resource "aws_iam_role" "my_agent" {
  name               = "my-agent"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy_attachment" "logs" {
  role       = aws_iam_role.my_agent.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}

resource "aws_iam_role_policy" "sessions" {
  role   = aws_iam_role.my_agent.id
  policy = data.aws_iam_policy_document.sessions.json
}

resource "aws_lambda_function" "my_agent" {
  function_name    = "my-agent"
  role             = aws_iam_role.my_agent.arn
  filename         = data.archive_file.code.output_path
  source_code_hash = data.archive_file.code.output_base64sha256
  handler          = "handler.handler"
  runtime          = "python3.13"
  architectures    = ["x86_64"]
  memory_size      = 1024
  timeout          = 60
  layers           = [var.session_layer_arn]

  environment {
    variables = {
      SESSION_TABLE       = var.session_table
      SESSION_TTL_SECONDS = "2592000"
    }
  }
}
