import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { FaBoxOpen } from "react-icons/fa6";

interface Parcel {
  id: string;
  grams: number;
  cents: number;
}

function Parcels() {
  const [parcels, setParcels] = useState<Parcel[]>([]);
  useEffect(() => {
    void fetch("/parcels").then(async (answer) => setParcels(await answer.json()));
  }, []);
  return (
    <ul>
      {parcels.map((parcel) => (
        <li key={parcel.id}>
          <FaBoxOpen /> {parcel.id}: {parcel.grams} g, {(parcel.cents / 100).toFixed(2)}
        </li>
      ))}
    </ul>
  );
}

createRoot(document.getElementById("root")!).render(<Parcels />);
