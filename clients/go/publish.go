package freshet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"
)

// A sidecar that isn't hung has answered within this time: it waits 5 s for its source.
const publishPatience = 6 * time.Second

var (
	// ErrPublishMistake: the request was a mistake, and nothing was published: the cache isn't published ("not-published"),
	// or its source can't be written to ("not-publishable"), a value is too large, a key is none ("key-syntax"), a value
	// can't be encoded ("unencodable").
	ErrPublishMistake = errors.New("it can't be published")
	// ErrPublishRefused: the source doesn't take it. Nothing was published, or a part: PublishError.Detail says which.
	ErrPublishRefused = errors.New("the source doesn't take what is published")
	// ErrPublishUnavailable: nothing was published, for now: nobody listens ("connect"), or the sidecar has no connection
	// to the source ("publish-unavailable"). It can be tried again, after PublishError.RetryAfter.
	ErrPublishUnavailable = errors.New("nothing can be published now")
	// ErrPublishUnknown: it may have been published, or may be yet: the source hasn't answered the sidecar in time
	// ("publish-unknown"), or the sidecar hasn't answered at all ("timeout", "closed", "garbled", "canceled"). Publish what
	// holds by then, rather than the same again: that would win over what others have published meanwhile.
	ErrPublishUnknown = errors.New("nobody knows whether it was published")
)

// PublishError says that something wasn't published, or that nobody knows whether it was.
type PublishError struct {
	// Kind is ErrPublishMistake, ErrPublishRefused, ErrPublishUnavailable or ErrPublishUnknown; errors.Is finds it.
	Kind error
	// Problem is why in a word: the last one of a problem's type, or a client's own such as "connect".
	Problem string
	// Detail is why in a sentence of the sidecar's.
	Detail string
	// RetryAfter is after which time it may be tried again; 0 where the sidecar hasn't said so.
	RetryAfter time.Duration
	cause      error
}

func (e *PublishError) Error() string {
	text := fmt.Sprintf("freshet: %v: %s", e.Kind, e.Problem)
	switch {
	case e.Detail != "":
		text += ": " + e.Detail
	case e.cause != nil:
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap is the kind, and what a codec said or the context, if it was that.
func (e *PublishError) Unwrap() []error {
	if e.cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.cause}
}

// Value is what a key's value is from now on. NewValue makes it.
type Value struct {
	key   Key
	value any
	ttl   time.Duration
	codec Codec
}

// NewValue is a value that is good for ttl, at least a millisecond, and never longer than the cache's own. It is encoded as
// CBOR, or as WithCodec says; of the other options none counts.
func NewValue(key Key, value any, ttl time.Duration, given ...Option) Value {
	o := options{codec: CBOR}
	for _, option := range given {
		option(&o)
	}
	return Value{key, value, ttl, o.codec}
}

// Publication is what is so from now on, in this order. It has at most 1 000 keys and values in all.
type Publication struct {
	// Clear voids all values of the cache.
	Clear bool
	// Delete are keys that have no value any more.
	Delete []Key
	// Put are values that keys have; of two for one key the last one counts.
	Put []Value
}

// Published says that the source has all of what was published.
type Published struct {
	// Applied: this pod's reads see it, or something newer. Otherwise its sidecar hasn't read it within 5 s. Reads in other
	// pods see it when their sidecars have read it.
	Applied bool
	// Start is since when it is so, by this pod's clock.
	Start time.Time
	// Publisher is the name under which the sidecar publishes now, and Sequence the number of the last message among all of
	// this publisher's.
	Publisher string
	Sequence  uint64
}

// Publish tells every pod whose sidecar follows the cache's source what is so from now on. The cache is published.
//
// It answers when the source has all of it, and this pod's reads see it, within 6 s and Config.Timeout. The error is a
// *PublishError. Nothing is tried again by itself: whoever publishes once more, later, wins over what others have published
// meanwhile, and only the application knows what holds by then. As Delete, it is always tried.
func (c *Client) Publish(ctx context.Context, cache string, publication Publication) (Published, error) {
	body, err := publication.body()
	if err != nil {
		return Published{}, err
	}
	if ctx.Err() != nil {
		return Published{}, &PublishError{Kind: ErrPublishUnavailable, Problem: "canceled", cause: context.Cause(ctx)}
	}
	answer, why := c.exchange.do(ctx, request{
		method:  http.MethodPost,
		path:    "/v1/" + escaped(cache) + "/_publish",
		headers: map[string]string{"Content-Type": "application/json"},
		body:    body,
		wait:    publishPatience,
		once:    true,
	})
	switch why {
	case "":
		return answer.published()
	case "connect":
		return Published{}, &PublishError{Kind: ErrPublishUnavailable, Problem: why}
	}
	return Published{}, &PublishError{Kind: ErrPublishUnknown, Problem: why, cause: context.Cause(ctx)}
}

type said struct {
	Key   Key             `json:"key"`
	TTL   int64           `json:"ttl"`
	JSON  json.RawMessage `json:"value,omitempty"`
	Type  string          `json:"type,omitempty"`
	Bytes *[]byte         `json:"base64,omitempty"`
}

func (p Publication) body() ([]byte, error) {
	message := struct {
		Clear  bool   `json:"clear"`
		Delete []Key  `json:"delete"`
		Put    []said `json:"put"`
	}{p.Clear, []Key{}, []said{}}
	for _, key := range p.Delete {
		if !key.isUnicode() {
			return nil, &PublishError{Kind: ErrPublishMistake, Problem: "key-syntax"}
		}
		message.Delete = append(message.Delete, key)
	}
	for _, value := range p.Put {
		if !value.key.isUnicode() {
			return nil, &PublishError{Kind: ErrPublishMistake, Problem: "key-syntax"}
		}
		said, err := value.said()
		if err != nil {
			return nil, &PublishError{Kind: ErrPublishMistake, Problem: "unencodable", cause: err}
		}
		message.Put = append(message.Put, said)
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(message); err != nil {
		return nil, &PublishError{Kind: ErrPublishMistake, Problem: "unencodable", cause: err}
	}
	return body.Bytes(), nil
}

// said is the value as it is sent. JSON stands there as JSON; whoever looks at the source can read it. What a codec calls
// JSON and isn't is published as it is.
func (v Value) said() (said, error) {
	codec := v.codec
	if codec == nil {
		codec = CBOR
	}
	data, err := codec.Encode(v.value)
	if err != nil {
		return said{}, err
	}
	it := said{Key: v.key, TTL: v.ttl.Milliseconds()}
	if codec.ContentType() == "application/json" && json.Valid(data) && utf8.Valid(data) {
		it.JSON = data
		return it, nil
	}
	if data == nil {
		data = []byte{}
	}
	it.Type, it.Bytes = codec.ContentType(), &data
	return it, nil
}

func (k Key) isUnicode() bool {
	for _, column := range k {
		if !utf8.ValidString(column) {
			return false
		}
	}
	return true
}

// published reads what a request to publish was answered.
func (r response) published() (Published, error) {
	if r.status == http.StatusOK || r.status == http.StatusAccepted {
		var said struct {
			Applied   *bool
			Start     int64
			Publisher string
			Sequence  uint64
		}
		if json.Unmarshal(r.body, &said) != nil || said.Applied == nil {
			return Published{}, &PublishError{Kind: ErrPublishUnknown, Problem: "garbled"}
		}
		return Published{*said.Applied, time.UnixMilli(said.Start), said.Publisher, said.Sequence}, nil
	}
	failed := &PublishError{Kind: ErrPublishUnknown, Problem: r.problem()}
	var said struct{ Detail string }
	if failed.Problem == "" {
		failed.Problem = "garbled"
		return Published{}, failed
	}
	// It was read as a problem, and may have no detail.
	_ = json.Unmarshal(r.body, &said)
	failed.Detail = said.Detail
	if after, err := strconv.ParseUint(r.header.Get("Retry-After"), 10, 31); err == nil {
		failed.RetryAfter = time.Duration(after) * time.Second
	}
	switch {
	case r.status >= 400 && r.status < 500:
		failed.Kind = ErrPublishMistake
	case r.status == http.StatusBadGateway:
		failed.Kind = ErrPublishRefused
	case r.status == http.StatusServiceUnavailable:
		failed.Kind = ErrPublishUnavailable
	}
	return Published{}, failed
}
