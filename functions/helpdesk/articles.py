"""An MCP server with the help desk's articles, in a process of its own beside the function."""

from mcp.server.mcpserver import MCPServer
from rapidfuzz import process

ARTICLES = {
    "reset the password": "Choose “Forgotten” on the page where you sign in. The link is valid for an hour.",
    "change the address": "Open “Profile”, then “Addresses”. Parcels that are under way are not redirected.",
    "return a parcel": "Print the label from “Orders” within 30 days.",
}

server = MCPServer("articles")


@server.tool()
def find_article(question: str) -> str:
    """The article that answers a question best."""
    title, _, _ = process.extractOne(question, ARTICLES.keys())
    return f"How to {title}: {ARTICLES[title]}"


if __name__ == "__main__":
    server.run()
