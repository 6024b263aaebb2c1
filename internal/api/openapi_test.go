package api

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

func TestTheDocumentIsValidAndComplete(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	for _, op := range Operations {
		if item := doc.Paths.Value(op.Path); item == nil || item.GetOperation(op.Method) == nil {
			t.Errorf("%s is not described", op.Name)
		}
		if o := doc.Paths.Value(op.Path).GetOperation(op.Method); len(o.Tags) != 1 || o.Responses.Value("4XX") == nil || op.Conditional() && o.Responses.Value("200").Value.Headers["ETag"] == nil {
			t.Errorf("%s has no tag, no 4XX or no ETag", op.Name)
		}
		for _, name := range op.Params {
			if op.parameter(name).text == "" {
				t.Errorf("parameter %s of %s is not described", name, op.Name)
			}
		}
	}
	if strings.Contains(string(OpenAPI()), `"required": null`) {
		t.Error("a schema requires null")
	}
	type optional struct {
		A string `json:"a,omitempty"`
	}
	some := schemas{}
	some.of(reflect.TypeFor[optional](), true)
	if required, told := some["Optional"].(object)["required"]; told {
		t.Errorf("what requires nothing requires %v", required)
	}
	if watch := doc.Paths.Value("/v1/watch").Get.Responses.Value("200").Value; watch.Content["text/event-stream"].Schema.Ref != "#/components/schemas/Event" {
		t.Error("the events of a watch are not described")
	}
}

func TestTheDocumentTellsAllOfALease(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	lease := doc.Components.Schemas["Lease"].Value
	if !slices.Contains(lease.Required, "lease") {
		t.Error("a granted lease may lack its id")
	}
	told := lease.Properties["guarantee"].Value
	for _, g := range []lockservice.Guarantee{lockservice.Quorum, lockservice.BestEffort, lockservice.ThisPeer} {
		if !slices.Contains(told.Enum, any(g.String())) {
			t.Errorf("%v is not among %v", g, told.Enum)
		}
	}
}
