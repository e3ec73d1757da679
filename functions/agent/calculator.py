"""Arithmetic for the agent's tool: evaluates an expression's syntax tree, never code."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from decimal import Context, Decimal, DecimalException, localcontext

MAX_LENGTH = 500

# Decimal keeps 0.1 + 0.2 at 0.3, and its bounded precision keeps 9**9**9 from filling the memory.
_CONTEXT = Context(prec=28, Emax=10_000, Emin=-10_000)

_BINARY: dict[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Decimal], Decimal]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


def evaluate(expression: str) -> str:
    """Compute an arithmetic expression of numbers, parentheses and + - * / // % **.

    Args:
        expression: The expression, at most 500 characters.

    Returns:
        The result in decimal notation.

    Raises:
        ValueError: It is not such an expression, or has no result (a division by zero, say).
    """
    if len(expression) > MAX_LENGTH:
        raise ValueError(f"the expression is longer than {MAX_LENGTH} characters")
    try:
        with localcontext(_CONTEXT):
            result = _value(ast.parse(expression.strip(), mode="eval").body)
            return _plain(result)
    except SyntaxError:
        raise ValueError("this is not an arithmetic expression") from None
    except DecimalException as error:
        raise ValueError(f"this has no result: {type(error).__name__}") from None


def _value(node: ast.expr) -> Decimal:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return Decimal(str(number))
        case ast.BinOp(left, operation, right) if type(operation) in _BINARY:
            return _BINARY[type(operation)](_value(left), _value(right))
        case ast.UnaryOp(operation, operand) if type(operation) in _UNARY:
            return _UNARY[type(operation)](_value(operand))
    raise ValueError("only numbers, parentheses and + - * / // % ** are understood")


def _plain(number: Decimal) -> str:
    if not number.is_finite():
        raise ValueError("this has no finite result")
    if abs(number.adjusted()) > 28:
        return str(number)
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
