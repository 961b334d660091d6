// Turn an object with gRPC's own library and the descriptors that ../descriptors.py writes: no generated code.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"log"
	"math"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

type object = map[string]interface{}

// tensors describes the inputs and collects their contents, in the same order.
type tensors struct {
	described []object
	contents  [][]byte
}

func (t *tensors) add(name, datatype string, length int, content []byte) {
	t.described = append(t.described, object{"name": name, "datatype": datatype, "shape": []int{length}})
	t.contents = append(t.contents, content)
}

// addBytes precedes the element of a BYTES tensor by its length in 4 bytes, little-endian.
func (t *tensors) addBytes(name string, element []byte) {
	length := make([]byte, 4)
	binary.LittleEndian.PutUint32(length, uint32(len(element)))
	t.add(name, "BYTES", 1, append(length, element...))
}

func (t *tensors) addFloats(name string, numbers ...float32) {
	content := make([]byte, 4*len(numbers))
	for i, number := range numbers {
		binary.LittleEndian.PutUint32(content[4*i:], math.Float32bits(number))
	}
	t.add(name, "FP32", len(numbers), content)
}

func check(err error) {
	if err != nil {
		log.Fatal(err) // gRPC's errors hold the status and the server's sentence
	}
}

// newMessage returns a function that makes messages of the service from their descriptors.
func newMessage(file string) func(name protoreflect.FullName) *dynamicpb.Message {
	content, err := os.ReadFile(file)
	check(err)
	set := &descriptorpb.FileDescriptorSet{}
	check(proto.Unmarshal(content, set))
	files, err := protodesc.NewFiles(set)
	check(err)
	return func(name protoreflect.FullName) *dynamicpb.Message {
		descriptor, err := files.FindDescriptorByName("inference." + name)
		check(err)
		return dynamicpb.NewMessage(descriptor.(protoreflect.MessageDescriptor))
	}
}

func main() {
	message := newMessage("triton.protoset")
	photo, err := os.ReadFile("../coffee.png")
	check(err)
	inputs := &tensors{}
	inputs.addBytes("image", photo)
	inputs.addBytes("class_name", []byte("coffee cup"))
	inputs.addFloats("box", 165, 12, 428, 312)
	inputs.addFloats("azimuth", 40)

	url := os.Getenv("RESPIN_URL")
	if url == "" {
		url = "127.0.0.1:8001"
	}
	connection, err := grpc.Dial(url, grpc.WithInsecure(), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(256<<20)))
	check(err)
	defer connection.Close()

	request, answer := message("ModelInferRequest"), message("ModelInferResponse")
	fields, err := json.Marshal(object{
		"model_name":         "rotate_object",
		"inputs":             inputs.described,
		"outputs":            []object{{"name": "image"}},
		"raw_input_contents": inputs.contents,
	})
	check(err)
	check(protojson.Unmarshal(fields, request))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	check(connection.Invoke(ctx, "/inference.GRPCInferenceService/ModelInfer", request, answer))

	contents := answer.Get(answer.Descriptor().Fields().ByName("raw_output_contents")).List()
	check(os.WriteFile("turned.png", contents.Get(0).Bytes()[4:], 0o644))
}
