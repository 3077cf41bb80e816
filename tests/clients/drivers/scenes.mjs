// What every JavaScript driver asks; the same as in scenes.py.
export const MODEL = "gpt-4o-mini";
export const EMBEDDING_MODEL = "text-embedding-3-small";
export const UNKNOWN_MODEL = "no-such-model";
export const QUESTION = "good morning";
export const TOO_MANY = "one too many";
export const SLOW = "take your time";
export const CANCEL_MS = 300;
export const IMPATIENCE_MS = 1000; // what is less, the SDK tells as 0
export const [URL, KEY] = process.argv.slice(2);
export const messages = (text) => [{ role: "user", content: text }];
export const SCHEMA = {
  type: "object",
  properties: { city: { type: "string" }, people: { type: "integer" } },
  required: ["city", "people"],
  additionalProperties: false,
};
export const PARAMETERS = {
  type: "object",
  properties: { city: { type: "string" }, limit: { type: "integer" } },
  required: ["city", "limit"],
  additionalProperties: false,
};

export const sum = (vector) => Math.round(vector.reduce((a, b) => a + b, 0) * 1e6) / 1e6;

export async function play(allScenes) {
  const wanted = process.env.SCENES?.split(" ") ?? Object.keys(allScenes);
  const seen = async (scene) => {
    try {
      return await scene();
    } catch (error) {
      return { broke: String(error?.stack ?? error).slice(0, 3000) };
    }
  };
  const all = wanted.map(async (name) => [name, await seen(allScenes[name])]);
  console.log(JSON.stringify(Object.fromEntries(await Promise.all(all))));
}
