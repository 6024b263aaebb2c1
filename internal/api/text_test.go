package api

import "testing"

// A decoder would replace invalid characters by U+FFFD, also in the names of keys.
func TestABodyWhoseTextWouldChangeIsRefused(t *testing.T) {
	for body, good := range map[string]bool{`{"add":["\ud83d\ude00"]}`: true, `{"add":["\ud800"]}`: false, "{\"add\":[\"\xff\"]}": false} {
		var v struct {
			Add []string `json:"add"`
		}
		if err := (Request{Body: []byte(body)}).decode(&v); (err == nil) != good {
			t.Errorf("%q: %v", body, err)
		}
	}
}
