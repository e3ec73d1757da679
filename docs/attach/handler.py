from agents import Agent, Runner

from openai_agents_session.environment import open_session, run

agent = Agent(name="Assistant", instructions="You are a concise, friendly assistant.")


def handler(event, context):
    return run(turn(event))


async def turn(event):
    session = await open_session(event["session_id"])
    result = await Runner.run(agent, event["message"], session=session)
    return {"answer": result.final_output}
