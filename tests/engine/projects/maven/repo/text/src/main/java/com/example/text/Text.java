package com.example.text;

import org.apache.commons.lang3.StringUtils;

public final class Text {
    private Text() {}

    public static String tick() {
        return StringUtils.capitalize("tick") + " tock\n";
    }
}
