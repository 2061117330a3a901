import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  build: {
    target: "es2022",
    // MapLibre alone is above the default limit; it is cached and compressed by the server.
    chunkSizeWarningLimit: 1600,
    rollupOptions: {
      output: {
        manualChunks: (id: string) => (id.includes("node_modules") ? "maplibre" : undefined),
      },
    },
  },
  worker: { format: "es" },
  // `npm run dev` beside `qingniao demo`: the page from source, the data from the API.
  server: {
    proxy: Object.fromEntries(
      ["/incidents", "/things", "/layers", "/cameras", "/snapshots", "/stream"].map((path) => [
        path,
        "http://127.0.0.1:8000",
      ]),
    ),
  },
});
