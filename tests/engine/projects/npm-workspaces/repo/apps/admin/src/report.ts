import { days } from "@shop/time";
import colors from "picocolors";

console.log(colors.green(String(days(7))));
