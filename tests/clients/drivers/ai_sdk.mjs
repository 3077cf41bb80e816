// The Vercel AI SDK with its OpenAI provider.
import { createOpenAI } from "@ai-sdk/openai";
import { embedMany, generateObject, generateText, jsonSchema, streamText, tool } from "ai";
import * as scenes from "./scenes.mjs";

const provider = (apiKey = scenes.KEY) => createOpenAI({ baseURL: scenes.URL, apiKey });
const openai = provider();
const lookUp = tool({ description: "Looks a city up.", inputSchema: jsonSchema(scenes.PARAMETERS) });
const ask = (text, more = {}) =>
  generateText({ model: openai.chat(scenes.MODEL), prompt: text, maxRetries: 0, ...more });
const usage = (used) => [used.inputTokens, used.outputTokens];

const error = async (call) => {
  try {
    await call();
  } catch (error) {
    return { raised: error.name, status: error.statusCode ?? null };
  }
  return null;
};

await scenes.play({
  chat: async () => {
    const answer = await ask(scenes.QUESTION);
    return [answer.text, answer.finishReason, ...usage(answer.usage)];
  },
  chat_stream: async () => {
    const stream = streamText({ model: openai.chat(scenes.MODEL), prompt: scenes.QUESTION, maxRetries: 0 });
    return [await stream.text, await stream.finishReason, ...usage(await stream.usage)];
  },
  tools: async () => (await ask(scenes.QUESTION, { tools: { look_up: lookUp } })).toolCalls.map((call) => call.input),
  tools_stream: async () => {
    const model = openai.chat(scenes.MODEL);
    const stream = streamText({ model, prompt: scenes.QUESTION, tools: { look_up: lookUp }, maxRetries: 0 });
    return (await stream.toolCalls).map((call) => call.input);
  },
  structured: async () => {
    const schema = jsonSchema(scenes.SCHEMA);
    const model = openai.chat(scenes.MODEL);
    return (await generateObject({ model, schema, prompt: scenes.QUESTION, maxRetries: 0 })).object;
  },
  embeddings: async () => {
    const { embeddings } = await embedMany({ model: openai.embedding(scenes.EMBEDDING_MODEL), values: ["a", "b"] });
    return embeddings.map(scenes.sum);
  },
  response: async () => {
    const answer = await ask(scenes.QUESTION, { model: openai.responses(scenes.MODEL) });
    return [answer.text, ...usage(answer.usage)];
  },
  response_stream: async () => {
    const stream = streamText({ model: openai.responses(scenes.MODEL), prompt: scenes.QUESTION, maxRetries: 0 });
    return [await stream.text, ...usage(await stream.usage)];
  },
  bad_request: () => error(() => ask("error", { temperature: 3 })),
  not_found: () => error(() => ask("error", { model: openai.chat(scenes.UNKNOWN_MODEL) })),
  too_many: () => error(() => ask(scenes.TOO_MANY)),
  unauthorized: () => error(() => ask("error", { model: provider("sk-nobody").chat(scenes.MODEL) })),
  cancelled: () => error(() => ask(scenes.SLOW, { abortSignal: AbortSignal.timeout(scenes.CANCEL_MS) })),
});
