"""The official clients of OpenAI, Hugging Face and Gradio against a service. Run by fronts_test.py in a Python that has
them; prints what they got as JSON.

    fronts_client.py openai|huggingface|gradio URL TOKEN PICTURE"""

import base64
import json
import pathlib
import sys


def ask_openai(url, token, picture):
    import openai
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=token, max_retries=0)
    uri = "data:image/png;base64," + base64.b64encode(pathlib.Path(picture).read_bytes()).decode()

    def messages(text, image=uri):
        return [{"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": image}}]}]

    def create(text="Describe the picture.", **options):
        return client.chat.completions.create(messages=messages(text), **({"model": "blip"} | options))

    def failure(call):
        try:
            call()
        except openai.APIStatusError as e:
            return [type(e).__name__, e.status_code, e.code, e.type, e.param, e.body["message"]]

    plain = create(max_tokens=4000)
    chunks = list(create(stream=True, stream_options={"include_usage": True}))
    several = create(n=3, temperature=0.9, top_p=0.9, seed=7, max_tokens=5)
    beams = list(create(stream=True, extra_body={"num_beams": 3}))
    return {
        "models": [model.id for model in client.models.list()],
        "model": client.models.retrieve("default:describe").id,
        "caption": plain.choices[0].message.content,
        "role": plain.choices[0].message.role,
        "finish_reason": plain.choices[0].finish_reason,
        "usage": plain.usage.to_dict(),
        "deltas": [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content],
        "stream_end": [chunks[-2].choices[0].finish_reason, chunks[-1].usage.to_dict()],
        "beam_deltas": [c.choices[0].delta.content for c in beams if c.choices[0].delta.content],
        "several": [[c.message.content, c.finish_reason] for c in several.choices],
        "again": [c.message.content for c in create(n=3, temperature=0.9, top_p=0.9, seed=7, max_tokens=5).choices],
        "answer": create("What is it?").choices[0].message.content,
        "described": create(model="default:describe").choices[0].message.content,
        "unknown": failure(lambda: create(model="gpt-4o")),
        "fetched": failure(lambda: client.chat.completions.create(model="blip", messages=messages("", "https://example.org/a.png"))),
        "broken": failure(lambda: client.chat.completions.create(model="blip", stream=True, messages=messages("", "data:image/png;base64,AAAA"))),
        "stranger": failure(lambda: client.with_options(api_key="wrong").chat.completions.create(model="blip", messages=messages(""))),
    }


def ask_huggingface(url, token, picture):
    from huggingface_hub import InferenceClient
    from huggingface_hub.errors import HfHubHTTPError
    client = InferenceClient(model=f"{url}/models/default", token=token)
    try:
        InferenceClient(model=f"{url}/models/nope", token=token).image_to_text(picture)
    except HfHubHTTPError as e:
        unknown = [e.response.status_code, e.server_message]
    chat = InferenceClient(base_url=f"{url}/v1", api_key=token)
    message = {"role": "user", "content": [{"type": "image_url", "image_url": {
        "url": "data:image/png;base64," + base64.b64encode(pathlib.Path(picture).read_bytes()).decode()}}]}
    answers = InferenceClient(token=token).visual_question_answering(
        picture, "what is it?", model=f"{url}/models/vqa", top_k=3)
    return {
        "caption": client.image_to_text(picture).generated_text,
        "bytes": InferenceClient(model=url, token=token).image_to_text(pathlib.Path(picture).read_bytes()).generated_text,
        "answers": [[a.answer, a.score] for a in answers],
        "chat": chat.chat_completion([message], model="blip").choices[0].message.content,
        "unknown": unknown,
    }


def ask_gradio(url, token, picture):
    from gradio_client import Client, handle_file
    client = Client(url, headers={"Authorization": f"Bearer {token}"}, verbose=False, analytics_enabled=False, download_files=False)

    def failure(*arguments, **options):
        try:
            client.predict(*arguments, **options)
        except Exception as e:
            return f"{type(e).__name__}: {e}"

    together = [client.submit(image=handle_file(picture), api_name="/caption") for _ in range(5)]
    job = client.submit(handle_file(picture), "classic", "low", api_name="/describe")
    found = {
        "functions": {name: [p["parameter_name"] for p in f["parameters"]] for name, f in
                      client.view_api(return_format="dict", print_info=False)["named_endpoints"].items()},
        "caption": client.predict(handle_file(picture), api_name="/caption"),
        "prompted": client.predict(image=handle_file(picture), prompt="a photo of", api_name="/caption"),
        "together": [job.result() for job in together],
        "described": job.result(),
        "answer": client.predict(handle_file(picture), "what is it?", api_name="/vqa"),
        "match": client.predict(handle_file(picture), "two crabs", api_name="/match"),
        "no_picture": failure(handle_file(__file__), api_name="/caption"),
        "fetched": failure(handle_file("http://example.org/a.png"), api_name="/caption"),
        "wrong_option": failure(handle_file(picture), "poetic", api_name="/describe"),
    }
    client.close()
    return found


if __name__ == "__main__":
    _, which, *arguments = sys.argv
    print(json.dumps({"openai": ask_openai, "huggingface": ask_huggingface, "gradio": ask_gradio}[which](*arguments)))
