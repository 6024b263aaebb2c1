package api

import (
	"cmp"
	"encoding"
	"encoding/json"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/verdict"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// parameter describes a parameter of a query, a path or a header.
type parameter struct {
	text   string
	schema object
}

// object is a JSON object.
type object = map[string]any

var (
	text    = object{"type": "string"}
	lasting = object{"type": "string", "examples": []string{"30s"}}
	boolean = object{"type": "boolean"}
)

// parameters describes each parameter once. A name with two meanings is listed with the name of
// the operation before it.
var parameters = map[string]parameter{
	"key":               {"the key, or the lock's name, escaped as one segment", text},
	"id":                {"the id of a task, worker or item", text},
	"agent":             {"an agent's name", text},
	"queue":             {"a queue's name", text},
	"ttl":               {"the time until it expires", lasting},
	"type":              {"the type of the key, if no rule of the daemon sets it", object{"type": "string", "enum": []string{"register", "set", "max", "counter", "object", "custom"}}},
	"path":              {"a JSON pointer: only the value there, inside an object", object{"type": "string", "examples": []string{"/a/b"}}},
	"has":               {"an element as JSON: only whether the set has it", text},
	"len":               {"only the number of elements of the set", boolean},
	"replicas":          {"wait until this many other peers have the write", object{"type": "integer", "minimum": 0, "maximum": 1000}},
	"match":             {"a glob on keys: * within a segment, ** across segments", text},
	"kv_get limit":      {"only so many elements of a set, or fields of an object, as a list of elements or of objects with name and value", object{"type": "integer", "minimum": 1, "maximum": maxPage}},
	"kv_get after":      {"only what comes after the page with this next", text},
	"limit":             {"the greatest number of entries", object{"type": "integer", "minimum": 1, "maximum": maxPage}},
	"after":             {"begin after this entry", text},
	"values":            {"show the values too", boolean},
	"count":             {"count the entries of the whole list too, which costs a walk through it", boolean},
	"free":              {"only workers that have room for this many more tasks", object{"type": "integer", "minimum": 0}},
	"label":             {"only workers with all of these labels", object{"type": "array", "items": text}},
	"worker_list state": {"only workers in this state", object{"type": "string", "enum": []string{"active", "unreachable", "gone"}}},
	"work_peek state":   {"only items in this state; or all", object{"type": "string", "enum": itemStates}},
	"work_purge state":  {"only items in these states", object{"type": "array", "items": object{"type": "string", "enum": []string{"pending", "delayed", "done", "dead"}}}},
	"lease":             {"the lease to release, if it is not in the body", text},
	"snapshot":          {"send the present state first", boolean},
	"last_event_id":     {"go on after this event, for clients that cannot set the header", text},
	"If-Match":          {"write only if this is the key's version on this peer", text},
	"If-None-Match":     {"*: write only if the key does not exist on this peer; for a read: answer 304 if this is still the version", text},
	"Last-Event-ID":     {"go on after this event", text},
}

// told describes the fields about which their Go type does not say everything.
var told = map[string]object{
	"LockInfo.source": {"type": "string", "enum": []string{"voters", "here"},
		"description": "voters: a majority of the voters was asked; here: no majority answers, and this is what this peer alone has on record"},
	"Verdict.level": {"type": "string", "enum": []verdict.Level{verdict.OK, verdict.Warn, verdict.Fail},
		"description": "ok: nothing needs to be done; warn: everything works, and somebody should look within the day; fail: something that was promised does not work now"},
	"Stats.vector": {"type": "object", "additionalProperties": object{"type": "integer", "minimum": 0},
		"description": "how many writes this peer has seen of each actor that may write again; store.retired counts the others. An actor is one run of a peer's process"},
	"Event.cause": {"type": "string",
		"enum":        []agent.Cause{agent.CausePut, agent.CauseDelete, agent.CauseExpired, agent.CauseConflict, agent.CauseSnapshot, agent.CauseSynced, agent.CauseLagged},
		"description": "put, delete, expired: a change; conflict: a concurrent write lost; snapshot: a key of the present state; without a key: synced: the snapshot is complete; lagged: changes were missed, and the whole state follows again"},
	"Event.partial": {"type": "boolean",
		"description": "the key is a set or an object of more than 64 KiB: parts is there in place of value and old. Without parts, read the key"},
	"Event.parts": {"type": "array", "items": object{"type": "object", "required": []string{"op", "path", "value"}, "properties": object{
		"op": object{"type": "string", "enum": []string{"put", "delete", "add", "remove"},
			"description": "put: the leaf at path is value; delete: there is nothing at path; add, remove: value is an element, or none, of the set at path"},
		"path": object{"type": "array", "items": text}, "value": object{}}},
		"description": "what changed of a large set or object: apply the parts in their order to a copy of the value"},
	"progressBody.progress": {"type": "number", "minimum": 0, "maximum": 100, "description": "a fraction from 0 to 1; a number over 1 is a percentage"},
	"progressBody.percent":  {"type": "number", "minimum": 0, "maximum": 100, "description": "a percentage, in place of progress"},
	"batchedBody.op":        {"type": "string", "enum": batchOps},
	"Member.locks": {"type": "string",
		"enum":        []string{lockservice.Quorum.String(), lockservice.BestEffort.String(), lockservice.ThisPeer.String()},
		"description": "the guarantee of a lease that is taken at that peer: see the guarantee of a lock"},
	"LockList.guarantee": {"type": "string",
		"enum":        []string{lockservice.Quorum.String(), lockservice.BestEffort.String(), lockservice.ThisPeer.String()},
		"description": "the guarantee of a lease that is taken at this peer; this-peer: only the locks of this peer are listed"},
	"Held.guarantee": {"type": "string",
		"enum":        []string{lockservice.Quorum.String(), lockservice.BestEffort.String(), lockservice.ThisPeer.String()},
		"description": "quorum: never held twice; best-effort: may be held once on each side of a partition; this-peer: there are no voters, and the lock excludes only callers of this peer"},
}

// Repeats reports whether a parameter of the operation may be given more than once.
func (op *Operation) Repeats(name string) bool {
	return op.parameter(name).schema["type"] == "array"
}

func (op *Operation) parameter(name string) parameter {
	if p, ok := parameters[op.Name+" "+name]; ok {
		return p
	}
	return parameters[name]
}

// OpenAPI returns the OpenAPI 3.1 document of the operations over HTTP and of the other paths that
// are served there. No library is used: generators such as swaggo read comments, and frameworks
// such as huma bring their own router, while this document follows from the table of operations.
var OpenAPI = sync.OnceValue(func() []byte {
	s := schemas{}
	paths := map[string]object{}
	add := func(method, path string, o object) {
		if paths[path] == nil {
			paths[path] = object{}
		}
		paths[path][strings.ToLower(method)] = o
	}
	for _, op := range Operations {
		add(op.Method, op.Path, s.operation(op))
	}
	plain := object{"text/plain": object{"schema": text}}
	for path, what := range map[string]string{"/healthz": "whether the daemon is up", "/readyz": "whether the daemon has synced with a peer, or needs no peer", "/metrics": "metrics for Prometheus"} {
		o := object{"operationId": strings.TrimPrefix(path, "/"), "summary": what, "responses": object{"200": object{"description": "OK", "content": plain}, "4XX": problems, "default": problems}}
		if path != "/metrics" {
			o["security"] = []object{{}}
		}
		add("GET", path, o)
	}
	add("GET", "/v1/openapi.json", object{"operationId": "openapi", "summary": "this document",
		"responses": object{"200": answer("OK", object{"type": "object"}), "4XX": problems, "default": problems}})
	s["Problem"] = object{"type": "object", "description": "RFC 9457", "required": []string{"type", "title", "status", "detail", "code"}, "properties": object{
		"type": text, "title": text, "status": object{"type": "integer"}, "detail": text, "code": object{"type": "string", "description": "stable, one of docs/http.md"},
		"current_version": text, "index": object{"type": "integer", "minimum": 0, "description": "the index of the operation in a batch that is refused"}, "reachable": object{"type": "integer"}, "needed": object{"type": "integer"}, "quarantine": lasting}}
	doc := object{
		"openapi":  "3.1.0",
		"info":     object{"title": "sentinel-peer", "version": "1", "description": "Shared memory for fleets of task workers and AI agents. A write whose description has no If-Match and If-None-Match refuses these headers.", "license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"}},
		"servers":  []object{{"url": "http://127.0.0.1:7700"}},
		"security": []object{{"token": []string{}}, {}},
		"paths":    paths,
		"components": object{
			"schemas":         s,
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer", "description": "needed where the daemon has a --token-file"}},
		},
	}
	out, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic(err) // the document is made of literals
	}
	return append(out, '\n')
})

var problems = object{"description": "an error", "content": object{"application/problem+json": object{"schema": object{"$ref": "#/components/schemas/Problem"}}}}

func answer(what string, schema object) object {
	return object{"description": what, "content": object{"application/json": object{"schema": schema}}}
}

func (s schemas) operation(op Operation) object {
	o := object{"operationId": op.Name, "summary": op.Summary, "tags": []string{strings.Split(op.Path, "/")[2]}, "parameters": s.parameters(op), "responses": s.responses(op)}
	if op.takes != nil {
		schema := s.of(reflect.TypeOf(op.takes), false)
		if need := op.needs; len(need) > 0 && need[0] != "" {
			schema = object{"allOf": []object{schema}, "required": need}
		}
		o["requestBody"] = object{"required": len(op.needs) > 0, "content": object{"application/json": object{"schema": schema}}}
	}
	return o
}

func (s schemas) responses(op Operation) object {
	all := object{"4XX": problems, "default": problems}
	switch {
	case op.Streams():
		all["200"] = object{"description": "server-sent events, whose data lines have this schema", "content": object{"text/event-stream": object{"schema": s.of(reflect.TypeOf(op.gives), true)}}}
	case op.gives != nil:
		all["200"] = answer("OK", s.of(reflect.TypeOf(op.gives), true))
		if op.makes {
			all["201"] = answer("created", s.of(reflect.TypeOf(op.gives), true))
		}
	default:
		all["204"] = object{"description": "done"}
	}
	if op.versioned() && op.Method == "GET" {
		all["304"] = object{"description": "the version has not changed"}
	}
	if op.versioned() {
		for _, status := range []string{"200", "201", "304"} {
			if good, ok := all[status].(object); ok {
				good["headers"] = object{"ETag": object{"description": "the key's version, unless nothing is left of the key", "schema": text}}
			}
		}
	}
	return all
}

// Conditional reports whether the operation is a write that can depend on a key's version.
func (op *Operation) Conditional() bool { return op.conditional }

// versioned reports whether the operation reads or writes one key, which has a version.
func (op *Operation) versioned() bool {
	return op.Conditional() || op.Method == "GET" && reflect.TypeOf(op.gives) == valueType
}

func (s schemas) parameters(op Operation) []object {
	list := []object{}
	add := func(in, name string) {
		p := op.parameter(name)
		list = append(list, object{"in": in, "name": name, "required": in == "path", "description": p.text, "schema": p.schema})
	}
	for _, part := range strings.Split(op.Path, "/") {
		if strings.HasPrefix(part, "{") {
			add("path", strings.Trim(part, "{}"))
		}
	}
	for _, name := range op.Params {
		add("query", name)
	}
	if op.versioned() {
		if op.Method != "GET" {
			add("header", "If-Match")
		}
		add("header", "If-None-Match")
	}
	if op.Streams() {
		add("header", "Last-Event-ID")
	}
	return list
}

// schemas maps the names of types to their schemas.
type schemas object

var (
	valueType     = reflect.TypeFor[crdt.Value]()
	rawType       = reflect.TypeFor[json.RawMessage]()
	timeType      = reflect.TypeFor[time.Time]()
	goDuration    = reflect.TypeFor[time.Duration]()
	durationType  = reflect.TypeFor[Duration]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// of returns the schema of the JSON that encoding/json writes for a type, or reads. In an answer a
// field is required unless it may be omitted.
func (s schemas) of(t reflect.Type, answer bool) object {
	switch {
	case t == valueType || t == rawType || t.Kind() == reflect.Interface:
		return object{}
	case t == timeType:
		return object{"type": "string", "format": "date-time"}
	case t == durationType:
		return object{"type": "string", "pattern": `^-?[0-9]+(\.[0-9]+)?s$`, "examples": []string{"4.7s"}}
	case t == goDuration:
		panic("answers have an api.Duration, whose JSON is not nanoseconds")
	case t.Implements(textMarshaler):
		return text
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem(), answer)
	case reflect.Bool:
		return boolean
	case reflect.String:
		return text
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice, reflect.Array:
		return object{"type": "array", "items": s.of(t.Elem(), answer)}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem(), answer)}
	case reflect.Struct:
		return s.named(t, answer)
	default: // integers
		o := object{"type": "integer"}
		if t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64 {
			o["minimum"] = 0
		}
		return o
	}
}

func (s schemas) named(t reflect.Type, answer bool) object {
	name := nameOf(t)
	if _, known := s[name]; !known {
		s[name] = nil // known from now on: the type may contain itself
		properties, required := object{}, []string{}
		s.fields(t, answer, properties, &required)
		o := object{"type": "object", "properties": properties}
		if answer {
			if len(required) > 0 {
				o["required"] = slices.Sorted(slices.Values(required))
			}
		} else {
			o["additionalProperties"] = false
		}
		s[name] = o
	}
	return object{"$ref": "#/components/schemas/" + name}
}

// nameOf returns the name of a type's schema: KeyList for api.List[api.Key].
func nameOf(t reflect.Type) string {
	if strings.HasPrefix(t.Name(), "List[") {
		return nameOf(t.Field(0).Type.Elem()) + "List"
	}
	name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
	if pkg := path.Base(t.PkgPath()); pkg != "api" {
		name = pkg + "." + name
	}
	return name
}

// fields adds the fields of t. They hide those of embedded types, as in encoding/json.
func (s schemas) fields(t reflect.Type, answer bool, properties object, required *[]string) {
	var embedded []reflect.Type
	for f := range t.Fields() {
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		name := cmp.Or(tag, f.Name)
		_, hidden := properties[name]
		switch {
		case f.Anonymous && tag == "":
			embedded = append(embedded, f.Type)
		case f.IsExported() && tag != "-" && !hidden:
			schema, ok := told[t.Name()+"."+name]
			if !ok {
				schema = s.of(f.Type, answer)
			}
			properties[name] = schema
			if !strings.Contains(options, "omit") {
				*required = append(*required, name)
			}
		}
	}
	for _, e := range embedded {
		s.fields(e, answer, properties, required)
	}
}
