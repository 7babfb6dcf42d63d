package freshet

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/fxamacker/cbor/v2"
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

// Reader is a Codec that reads values of other types than its own, too.
type Reader interface {
	Codec
	// Accept is what reads are sent with, in the header of this name.
	Accept() string
	// DecodeType sets what into points to, of bytes that are stored with this Content-Type.
	DecodeType(contentType string, data []byte, into any) error
}

// CBOR is fxamacker/cbor's, deterministic; json tags of fields count where there are none of cbor. It reads JSON, too, as it is
// stored.
var CBOR Codec = cborCodec{}

// JSON is encoding/json's. It reads CBOR, too.
var JSON Codec = jsonCodec{}

type cborCodec struct{}

func (cborCodec) ContentType() string                { return "application/cbor" }
func (cborCodec) Accept() string                     { return "application/cbor, application/json, */*;q=0.1" }
func (cborCodec) Encode(value any) ([]byte, error)   { return cborOut.Marshal(value) }
func (cborCodec) Decode(data []byte, into any) error { return cborIn.Unmarshal(data, into) }

func (cborCodec) DecodeType(contentType string, data []byte, into any) error {
	switch {
	case is(contentType, "cbor"):
		return cborIn.Unmarshal(data, into)
	case is(contentType, "json"):
		return json.Unmarshal(data, into)
	}
	return fmt.Errorf("the value is of type %q, neither CBOR nor JSON", contentType)
}

type jsonCodec struct{}

func (jsonCodec) ContentType() string                { return "application/json" }
func (jsonCodec) Accept() string                     { return "application/json, application/cbor;q=0.9, */*;q=0.1" }
func (jsonCodec) Encode(value any) ([]byte, error)   { return json.Marshal(value) }
func (jsonCodec) Decode(data []byte, into any) error { return json.Unmarshal(data, into) }

func (jsonCodec) DecodeType(contentType string, data []byte, into any) error {
	if is(contentType, "cbor") {
		return cborIn.Unmarshal(data, into)
	}
	return json.Unmarshal(data, into)
}

// is tells whether values of this type are written in CBOR, or in JSON.
func is(contentType, codec string) bool {
	essence, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	essence = strings.TrimSpace(essence)
	return essence == "application/"+codec || strings.HasSuffix(essence, "+"+codec)
}

var (
	cborOut = mode(func() (cbor.EncMode, error) {
		options := cbor.CoreDetEncOptions()
		// As encoding/json has times, and with their nanoseconds.
		options.Time, options.TimeTag = cbor.TimeRFC3339Nano, cbor.EncTagRequired
		return options.EncMode()
	})
	cborIn = mode(func() (cbor.DecMode, error) {
		options := cbor.DecOptions{
			DupMapKey: cbor.DupMapKeyEnforcedAPF,
			// As encoding/json has what is decoded into an any.
			DefaultMapType: reflect.TypeOf(map[string]any(nil)),
		}
		return options.DecMode()
	})
)

// mode is what these options make, which are constant.
func mode[T any](of func() (T, error)) T {
	made, err := of()
	if err != nil {
		panic(err)
	}
	return made
}

func accept(codec Codec) string {
	if reader, ok := codec.(Reader); ok {
		return reader.Accept()
	}
	return ""
}

func decode(codec Codec, found Answer, into any) error {
	if reader, ok := codec.(Reader); ok {
		return reader.DecodeType(found.ContentType, found.Bytes, into)
	}
	return codec.Decode(found.Bytes, into)
}

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
