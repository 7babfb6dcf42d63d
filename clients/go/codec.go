package freshet

import (
	"encoding/json"
	"fmt"
)

// Codec is how values become bytes and back. A stored value that can't be decoded is loaded anew and replaced, so a
// changed codec mends itself.
type Codec interface {
	// ContentType is stored with the bytes.
	ContentType() string
	Encode(value any) ([]byte, error)
	// Decode sets what into points to.
	Decode(data []byte, into any) error
}

// JSON is encoding/json's.
var JSON Codec = jsonCodec{}

type jsonCodec struct{}

func (jsonCodec) ContentType() string                { return "application/json" }
func (jsonCodec) Encode(value any) ([]byte, error)   { return json.Marshal(value) }
func (jsonCodec) Decode(data []byte, into any) error { return json.Unmarshal(data, into) }

// Bytes stores []byte as they are, with this content type.
func Bytes(contentType string) Codec { return bytesCodec(contentType) }

type bytesCodec string

func (c bytesCodec) ContentType() string { return string(c) }

func (c bytesCodec) Encode(value any) ([]byte, error) {
	data, ok := value.([]byte)
	if !ok {
		return nil, fmt.Errorf("the value is a %T, not []byte", value)
	}
	return data, nil
}

func (c bytesCodec) Decode(data []byte, into any) error {
	target, ok := into.(*[]byte)
	if !ok {
		return fmt.Errorf("the value is wanted as a %T, not *[]byte", into)
	}
	*target = data
	return nil
}
