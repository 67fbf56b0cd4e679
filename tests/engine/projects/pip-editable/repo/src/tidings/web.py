import bottle

app = bottle.Bottle()


@app.get("/")
def greeting() -> str:
    return "edited"


def main() -> None:
    bottle.run(app, host="0.0.0.0", port=8000)
