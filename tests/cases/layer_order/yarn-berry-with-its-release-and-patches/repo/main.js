require("undici");
