package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxEcho is how much of a value that is refused is shown again.
const maxEcho = 60

// jsonOrText returns a value that was typed: JSON, or text. What begins as JSON does, with
// a brace, bracket or quote, and is none was not meant as text.
func jsonOrText(typed string) (json.RawMessage, error) {
	if !utf8.ValidString(typed) {
		return nil, usage(fmt.Errorf("the value: %w", errNotText))
	}
	var v json.RawMessage
	err := json.Unmarshal([]byte(typed), &v)
	if err == nil {
		return json.RawMessage(typed), nil
	}
	quoted, _ := json.Marshal(typed) // text is a value too
	if begin := strings.TrimSpace(typed); begin == "" || !strings.ContainsRune("{[\"", rune(begin[0])) {
		return quoted, nil
	}
	how := "give it in quotes, as a JSON string"
	if len(typed) <= maxEcho && !strings.Contains(typed, "'") {
		how = fmt.Sprintf("quote it: '%s'", quoted)
	}
	return nil, usage(fmt.Errorf("the value begins like JSON, and is none: %w; if text is meant, %s", err, how))
}

// typedValue reads VALUE, or standard input for -.
func typedValue(arg string) (json.RawMessage, error) {
	if arg != "-" {
		return jsonOrText(arg)
	}
	text, err := io.ReadAll(io.LimitReader(os.Stdin, 8<<20))
	if err != nil {
		return nil, err
	}
	return jsonOrText(string(text))
}

// wholeNumber refuses what is none, by the name of the argument.
func wholeNumber(name, arg string) error {
	if _, err := strconv.ParseInt(arg, 10, 64); err != nil || !json.Valid([]byte(arg)) {
		return usage(fmt.Errorf("%s %q: want a whole number within 64 bits", name, arg))
	}
	return nil
}

func anyNumber(name, arg string) error {
	if _, err := strconv.ParseFloat(arg, 64); err != nil || !json.Valid([]byte(arg)) {
		return usage(fmt.Errorf("%s %q: want a number", name, arg))
	}
	return nil
}
