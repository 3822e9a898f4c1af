from perceptio.cli.main import run

run()
