@main def run() = println("hi")
