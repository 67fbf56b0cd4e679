export const label = "parcel";
