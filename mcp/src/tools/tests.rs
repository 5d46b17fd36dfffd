use super::*;

#[test]
fn each_tool_is_what_every_client_takes() {
    let tools = definitions();
    assert_eq!(tools.len(), 10);
    for tool in tools {
        let name = tool.name.as_ref();
        // OpenClaw: `codeswarm__<tool>` has at most 64 characters, and a description is cut at 1,200.
        assert!(
            name.len() <= 50 && name.chars().all(|c| c.is_ascii_lowercase()),
            "{name}"
        );
        let description = tool.description.as_deref().unwrap();
        assert!(
            (80..=1_200).contains(&description.len()),
            "{name}: {}",
            description.len()
        );
        assert!(
            description.contains("swarm") || name == "doctor" || name == "output",
            "{name}"
        );
        let schema = Value::Object((*tool.input_schema).clone());
        assert_eq!(schema["type"], "object", "{name}");
        assert_eq!(schema["additionalProperties"], false, "{name}");
        let text = schema.to_string();
        assert!(!text.contains("$ref") && !text.contains("$defs"), "{name}: {text}");
        for (field, property) in schema["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{name}.{field}");
        }
        let annotations = tool.annotations.unwrap();
        let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
        let keyed = required.iter().any(|field| field == "idempotency_key");
        assert_eq!(
            annotations.read_only_hint,
            Some(!keyed),
            "{name}: whatever acts has a key"
        );
        assert_eq!(
            annotations.destructive_hint,
            Some(["interrupt", "terminate"].contains(&name)),
            "{name}"
        );
    }
}
