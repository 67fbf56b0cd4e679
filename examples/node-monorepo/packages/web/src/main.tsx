import { useState } from "react";
import { createRoot } from "react-dom/client";

import { postage } from "@parcels/shared";

function Quote() {
  const [grams, setGrams] = useState(500);
  const cents = postage({ id: "preview", weightGrams: grams, status: "announced" });
  return (
    <label>
      Weight in grams
      <input type="number" min={1} value={grams} onChange={(event) => setGrams(Number(event.target.value))} />
      costs {(cents / 100).toFixed(2)}
    </label>
  );
}

createRoot(document.getElementById("root")!).render(<Quote />);
