import { createElement as h, StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { useVidette } from "./useVidette.js";

function Doors() {
  const [vids, setVids] = useState([]);
  const onEvent = ({ vid }) => setVids((before) => [...before, vid]);
  const doors = useVidette({ url: location.origin, topic: "door.*", after: "earliest", onEvent });
  const last = doors.last && `${doors.last.topic}: ${JSON.stringify(doors.last.data)}`;
  return h("p", { id: "doors" }, `${doors.state}, ${vids.join(" ")}, ${last ?? "nothing yet"}`);
}

createRoot(document.body).render(h(StrictMode, null, h(Doors)));
