package httpapi

import (
	"net/http"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// openapi answers with the document that describes the API.
func openapi(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(api.OpenAPI()) // on an error the client has gone
}
