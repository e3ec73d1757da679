"""What stands in for AWS on one machine, shared by tests, demo and benchmarks.

DynamoDB engines, a proxy in front of them that counts, breaks and delays requests, Lambda's Runtime Interface Emulator,
an emulated AWS to deploy to, the SAM CLI, and endpoints that answer as a model does.
"""
