import bottle

app = bottle.Bottle()


@app.get("/")
def greeting() -> str:
    return "at home"


if __name__ == "__main__":
    bottle.run(app, host="0.0.0.0", port=8000)
