//! Where Codex will look for its model, as far as its configuration tells. Pure.

use codeswarm_protocol::launch::AgentSpec;

use crate::codex::config::config_table;

/// The provider that is built in.
const OPENAI: &str = "openai";

/// Its address.
const OPENAI_URL: &str = "https://api.openai.com/v1";

/// The base address of the provider that is chosen; `None` where the configuration does not tell one, as for the other
/// providers that Codex brings along.
pub fn base_url(agent: &AgentSpec) -> Option<String> {
    let config = config_table(&agent.config).ok()?;
    let text = |value: Option<&toml::Value>| value.and_then(toml::Value::as_str).map(str::to_owned);
    let provider = agent
        .model_provider
        .clone()
        .or_else(|| text(config.get("model_provider")))
        .unwrap_or_else(|| OPENAI.to_owned());
    let of_provider = config
        .get("model_providers")
        .and_then(|all| all.get(&provider))
        .and_then(|one| one.get("base_url"));
    text(of_provider).or_else(|| {
        let built_in = || text(config.get("openai_base_url")).unwrap_or_else(|| OPENAI_URL.to_owned());
        (provider == OPENAI).then(built_in)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(provider: Option<&str>, config: serde_json::Value) -> Option<String> {
        base_url(&AgentSpec {
            model_provider: provider.map(str::to_owned),
            config: config.as_object().unwrap().clone(),
            ..AgentSpec::default()
        })
    }

    #[test]
    fn the_chosen_provider_s_address_is_found_however_it_is_spelled() {
        assert_eq!(of(None, json!({})).as_deref(), Some(OPENAI_URL));
        assert_eq!(
            of(None, json!({"openai_base_url": "https://gate/v1"})).as_deref(),
            Some("https://gate/v1")
        );
        let dotted = json!({"model_providers.own.base_url": "http://n:1/v1", "model_provider": "own"});
        assert_eq!(of(None, dotted).as_deref(), Some("http://n:1/v1"));
        let nested = json!({"model_providers": {"own": {"base_url": "http://n:2/v1"}}});
        assert_eq!(of(Some("own"), nested.clone()).as_deref(), Some("http://n:2/v1"));
        assert_eq!(of(None, nested).as_deref(), Some(OPENAI_URL));
        assert_eq!(of(Some("unknown"), json!({})), None);
    }
}
