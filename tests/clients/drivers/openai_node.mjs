// The stock openai package for Node.
import OpenAI from "openai";
import * as scenes from "./scenes.mjs";

const client = new OpenAI({ baseURL: scenes.URL, apiKey: scenes.KEY, maxRetries: 0 });
const tool = { type: "function", function: { name: "look_up", parameters: scenes.PARAMETERS } };
const format = { type: "json_schema", json_schema: { name: "place", strict: true, schema: scenes.SCHEMA } };

const ask = (text, more = {}, options = {}) =>
  client.chat.completions.create({ model: scenes.MODEL, messages: scenes.messages(text), ...more }, options);

const called = (choice) => {
  const [call] = choice.message.tool_calls;
  return [call.function.name, call.function.arguments, choice.finish_reason];
};

const error = async (call) => {
  try {
    await call();
  } catch (error) {
    return { raised: error.constructor.name, status: error.status ?? null };
  }
  return null;
};

const output = (answer) => [answer.output_text, answer.status, answer.usage.input_tokens, answer.usage.output_tokens];

await scenes.play({
  chat: async () => {
    const { choices: [choice], usage } = await ask(scenes.QUESTION);
    return [choice.message.content, choice.finish_reason, usage.prompt_tokens, usage.completion_tokens];
  },
  chat_stream: async () => {
    const chunks = [];
    const stream = await ask(scenes.QUESTION, { stream: true, stream_options: { include_usage: true } });
    for await (const chunk of stream) chunks.push(chunk);
    const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
    const usage = chunks.at(-1).usage;
    return [text, usage.prompt_tokens, usage.completion_tokens];
  },
  tools: async () => called((await ask(scenes.QUESTION, { tools: [tool] })).choices[0]),
  tools_stream: async () => {
    const body = { model: scenes.MODEL, messages: scenes.messages(scenes.QUESTION), tools: [tool] };
    return called((await client.chat.completions.stream(body).finalChatCompletion()).choices[0]);
  },
  structured: async () => (await ask(scenes.QUESTION, { response_format: format })).choices[0].message.content,
  embeddings: async () => {
    const answer = await client.embeddings.create({ model: scenes.EMBEDDING_MODEL, input: ["a", "b"] });
    return [answer.data.map((one) => scenes.sum(one.embedding)), answer.usage.prompt_tokens];
  },
  response: async () => output(await client.responses.create({ model: scenes.MODEL, input: scenes.QUESTION })),
  response_stream: async () =>
    output(await client.responses.stream({ model: scenes.MODEL, input: scenes.QUESTION }).finalResponse()),
  bad_request: () => error(() => ask("error", { nope: 1 })),
  not_found: () => error(() => ask("error", { model: scenes.UNKNOWN_MODEL })),
  too_many: () => error(() => ask(scenes.TOO_MANY)),
  unauthorized: () =>
    error(() =>
      client.withOptions({ apiKey: "sk-nobody" }).chat.completions.create({
        model: scenes.MODEL,
        messages: scenes.messages("error"),
      }),
    ),
  impatient: async () => (await ask("impatient", {}, { timeout: scenes.IMPATIENCE_MS })).choices[0].message.content,
  cancelled: () => error(() => ask(scenes.SLOW, {}, { signal: AbortSignal.timeout(scenes.CANCEL_MS) })),
});
