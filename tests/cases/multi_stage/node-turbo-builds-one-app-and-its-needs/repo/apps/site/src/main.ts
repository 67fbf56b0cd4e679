import "@repo/rates";
